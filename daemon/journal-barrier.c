/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/journal-barrier.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/varlink.h"

#ifndef JOURNAL_VARLINK
#define JOURNAL_VARLINK "/run/systemd/journal/io.systemd.journal"
#endif
#define REPLY_MAX 4096U
static const struct timeval PATIENCE = { .tv_sec = 2 };
#define WAIT_MSEC 2000
static const struct timeval AT_ONCE = {};

struct JournalBarrier {
        struct event_base *loop;
        void (*done)(bool answered, void *userdata);
        void *userdata;
        int fd;               /* owned; -1 when nothing is asked */
        struct event *reply;  /* owned */
        struct event *finish; /* owned: a barrier that could not be asked ends from the loop, too */
        VarlinkReader reader;
        bool again; /* another request came while one was under way */
};

static void barrier_close(JournalBarrier *b) {
        if (b->reply)
                event_free(b->reply);
        b->reply = NULL;
        varlink_reader_done(&b->reader);
        b->fd = fd_close(b->fd);
}

static void barrier_ask(JournalBarrier *b);

static void barrier_finish(JournalBarrier *b, bool answered) {
        bool again = b->again;

        barrier_close(b);
        b->again = false;
        if (again)
                barrier_ask(b);
        else
                b->done(answered, b->userdata);
}

static void barrier_on_finish(evutil_socket_t fd, short what, void *userdata) {
        barrier_finish(userdata, false);
}

static void barrier_on_reply(evutil_socket_t fd, short what, void *userdata) {
        JournalBarrier *b = userdata;
        json_t *message = NULL;
        bool answered;
        ssize_t k = -1;
        char *bytes;
        size_t n;

        if (!(what & EV_TIMEOUT) && varlink_reader_room(&b->reader, &bytes, &n) == 0) {
                k = read(fd, bytes, n);
                if (k < 0 && errno == EAGAIN)
                        return;
                if (k > 0)
                        varlink_reader_added(&b->reader, (size_t)k);
        }
        if (k > 0 && varlink_reader_next(&b->reader, &message) == 0 && !message)
                return;
        answered = message && !json_object_get(message, "error");
        json_decref(message);
        barrier_finish(b, answered);
}

static int barrier_connect(int flags, int *ret_fd) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = JOURNAL_VARLINK };
        _cleanup_free_ char *text = NULL;
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
        size_t n;
        int r;

        if (fd < 0 || connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
                return -errno;
        r = varlink_encode_consume(varlink_call_new("io.systemd.Journal.Synchronize", NULL, false, false), &text, &n);
        if (r < 0)
                return r;
        if (send(fd, text, n, MSG_NOSIGNAL) != (ssize_t)n)
                return -EIO;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int barrier_send(JournalBarrier *b) {
        int r = barrier_connect(SOCK_NONBLOCK, &b->fd);

        if (r < 0)
                return r;
        b->reply = event_new(b->loop, b->fd, EV_READ | EV_PERSIST, barrier_on_reply, b);
        return b->reply && event_add(b->reply, &PATIENCE) == 0 ? 0 : -ENOMEM;
}

void journal_barrier_wait(void) {
        _cleanup_fd_ int fd = -1;

        /* A full backlog would wait as long as it likes. */
        if (barrier_connect(SOCK_NONBLOCK, &fd) == 0)
                (void)poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, WAIT_MSEC);
}

static void barrier_ask(JournalBarrier *b) {
        varlink_reader_init(&b->reader, REPLY_MAX);
        if (barrier_send(b) < 0) {
                barrier_close(b);
                (void)event_add(b->finish, &AT_ONCE);
        }
}

int journal_barrier_new(struct event_base *loop, void (*done)(bool answered, void *userdata), void *userdata,
                        JournalBarrier **ret) {
        JournalBarrier *b = calloc(1, sizeof(*b));

        if (!b)
                return -ENOMEM;
        *b = (JournalBarrier){ .loop = loop, .done = done, .userdata = userdata, .fd = -1 };
        b->finish = event_new(loop, -1, 0, barrier_on_finish, b);
        if (!b->finish) {
                journal_barrier_free(b);
                return -ENOMEM;
        }
        *ret = b;
        return 0;
}

void journal_barrier_free(JournalBarrier *b) {
        if (!b)
                return;
        barrier_close(b);
        if (b->finish)
                event_free(b->finish);
        free(b);
}

void journal_barrier_request(JournalBarrier *b) {
        if (b->fd >= 0 || event_pending(b->finish, EV_TIMEOUT, NULL))
                b->again = true;
        else
                barrier_ask(b);
}
