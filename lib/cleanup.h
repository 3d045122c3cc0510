/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Scope-bound release, as systemd's _cleanup_: the variable says who owns, and every way out of a
 * function releases. TAKE_PTR and TAKE_FD hand ownership on.
 */

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

static inline void freep(void *p) {
        free(*(void **)p);
}

static inline int fd_close(int fd) {
        if (fd >= 0)
                (void)close(fd);
        return -1;
}

static inline void fd_closep(int *fd) {
        (void)fd_close(*fd);
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_fd_ _cleanup_(fd_closep)

#define TAKE_PTR(p)                         \
        ({                                  \
                __typeof__(p) *_pp = &(p);  \
                __typeof__(p) _p = *_pp;    \
                *_pp = NULL;                \
                _p;                         \
        })

#define TAKE_FD(fd)                \
        ({                         \
                int *_fdp = &(fd); \
                int _fd = *_fdp;   \
                *_fdp = -1;        \
                _fd;               \
        })
