/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/listener.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/descriptors.h"
#include "daemon/log.h"
#include "lib/cleanup.h"
#include "lib/fd.h"

#define BACKLOG 512
/* Accepted in one turn of the loop: others want their turn as well. */
#define ACCEPT_AT_ONCE 32U
/* Someone else may have closed a descriptor without telling. */
static const struct timeval LOOK_AGAIN = { .tv_sec = 1 };

struct Listener {
        struct event *readable; /* owned */
        struct event *resume;   /* owned */
        int fd;                 /* owned */
        bool paused;            /* and it has been said */
        char *path;             /* owned: of a socket that we made and take away */
        void (*accepted)(int fd, void *userdata);
        void *userdata;
};

static void listener_on_resume(evutil_socket_t fd, short what, void *userdata) {
        listener_resume(userdata);
}

void listener_resume(Listener *l) {
        (void)event_del(l->resume);
        (void)event_add(l->readable, NULL);
}

/* Without an event to wait for: descriptors may be freed by others. */
static void listener_pause(Listener *l, const char *why) {
        if (!l->paused)
                log_warning("New connections wait: %s", why);
        l->paused = true;
        (void)event_del(l->readable);
        (void)event_add(l->resume, &LOOK_AGAIN);
}

static void listener_on_readable(evutil_socket_t fd, short what, void *userdata) {
        Listener *l = userdata;

        for (unsigned i = 0; i < ACCEPT_AT_ONCE; i++) {
                int k;

                if (!descriptors_are_left(fd, DESCRIPTORS_FOR_CLIENTS)) {
                        listener_pause(l, "few descriptors are left");
                        return;
                }
                k = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (k < 0) {
                        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                                listener_pause(l, strerror(errno));
                        else
                                l->paused = false; /* nobody waits any more */
                        return;
                }
                l->accepted(k, l->userdata);
        }
}

/* The socket's folder; /run/manholed itself, but nothing above it. */
static int make_folder(const char *path) {
        _cleanup_free_ char *folder = strdup(path);
        char *slash = folder ? strrchr(folder, '/') : NULL;

        if (!folder)
                return -ENOMEM;
        if (!slash || slash == folder)
                return 0;
        *slash = '\0';
        return mkdir(folder, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/*
 * Takes away a socket that nobody serves any more, and nothing else that may have this name. Asks by
 * datagram, which a busy daemon does not have to accept (unix(7), EPROTOTYPE).
 */
static int remove_dead(const struct sockaddr_un *sa) {
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct stat st;

        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0)
                return -EADDRINUSE;
        switch (errno) {
        case ENOENT:
                return 0;
        case EPROTOTYPE:
                return -EADDRINUSE;
        case ECONNREFUSED:
                break;
        default:
                return -errno;
        }
        if (lstat(sa->sun_path, &st) < 0)
                return -errno;
        if (!S_ISSOCK(st.st_mode))
                return -EEXIST;
        return unlink(sa->sun_path) < 0 ? -errno : 0;
}

static int listen_at(const char *path, int *ret_fd) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        _cleanup_fd_ int fd = -1;
        mode_t mask;
        int r;

        if (strlen(path) >= sizeof(sa.sun_path))
                return -ENAMETOOLONG;
        strcpy(sa.sun_path, path);
        r = make_folder(path);
        if (r < 0)
                return r;
        r = remove_dead(&sa);
        if (r < 0)
                return r;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* Everybody may connect: the kernel says who it is, and the policy decides. The mode comes with
         * the birth, not from chmod(2), which would trust the path once more. */
        mask = umask(0);
        r = fchmod(fd, 0666) < 0 || bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 ||
            listen(fd, BACKLOG) < 0 ? -errno : 0;
        (void)umask(mask);
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int listener_new_consume(struct event_base *loop, int passed, const char *path,
                         void (*accepted)(int fd, void *userdata), void *userdata, Listener **ret) {
        Listener *l = calloc(1, sizeof(*l));
        int r;

        if (!l) {
                (void)fd_close(passed);
                return -ENOMEM;
        }
        l->accepted = accepted;
        l->userdata = userdata;
        l->fd = passed;
        if (passed == -EBUSY || (passed >= 0 && sd_is_socket_unix(passed, SOCK_STREAM, 1, NULL, 0) <= 0)) {
                r = -EINVAL;
                goto fail;
        }
        if (passed >= 0)
                r = fd_set_nonblock(l->fd, true);
        else if (!path)
                r = -EDESTADDRREQ;
        else {
                r = listen_at(path, &l->fd);
                if (r == 0)
                        l->path = strdup(path);
        }
        if (r < 0)
                goto fail;
        r = -ENOMEM;
        l->readable = event_new(loop, l->fd, EV_READ | EV_PERSIST, listener_on_readable, l);
        l->resume = event_new(loop, -1, 0, listener_on_resume, l);
        if (!l->readable || !l->resume || event_add(l->readable, NULL) < 0)
                goto fail;
        *ret = l;
        return 0;
fail:
        listener_free(l);
        return r;
}

void listener_free(Listener *l) {
        if (!l)
                return;
        if (l->readable)
                event_free(l->readable);
        if (l->resume)
                event_free(l->resume);
        if (l->path)
                (void)unlink(l->path);
        (void)fd_close(l->fd);
        free(l->path);
        free(l);
}
