/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/hangup.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "lib/cleanup.h"

struct Hangups {
        int epoll_fd;           /* owned */
        struct event *readable; /* owned */
};

static void hangups_on_readable(evutil_socket_t fd, short what, void *userdata) {
        struct epoll_event event;
        Hangup *h;

        /* One at a time: what is called may cancel others. */
        if (epoll_wait(fd, &event, 1, 0) != 1)
                return;
        h = event.data.ptr;
        hangup_cancel(h);
        h->gone(h);
}

int hangups_new(struct event_base *loop, Hangups **ret) {
        Hangups *h = calloc(1, sizeof(*h));
        int r = -ENOMEM;

        if (!h)
                return -ENOMEM;
        h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (h->epoll_fd < 0)
                r = -errno;
        else
                h->readable = event_new(loop, h->epoll_fd, EV_READ | EV_PERSIST, hangups_on_readable, NULL);
        if (!h->readable || event_add(h->readable, NULL) < 0) {
                hangups_free(h);
                return r;
        }
        *ret = h;
        return 0;
}

void hangups_free(Hangups *h) {
        if (!h)
                return;
        if (h->readable)
                event_free(h->readable);
        (void)fd_close(h->epoll_fd);
        free(h);
}

int hangup_watch(Hangups *hangups, Hangup *h, int fd, void (*gone)(Hangup *hangup)) {
        struct epoll_event event = { .data.ptr = h };

        assert(!h->hangups);
        if (epoll_ctl(hangups->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
                return -errno;
        *h = (Hangup){ .hangups = hangups, .fd = fd, .gone = gone };
        return 0;
}

void hangup_cancel(Hangup *h) {
        if (!h->hangups)
                return;
        (void)epoll_ctl(h->hangups->epoll_fd, EPOLL_CTL_DEL, h->fd, NULL);
        h->hangups = NULL;
}
