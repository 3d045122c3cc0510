/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static int reserved = -1; /* owned */

/* Of a folder that is always there; nobody looks at what it is of. */
void reserve_keep(void) {
        if (reserved < 0)
                reserved = open("/", O_PATH | O_CLOEXEC);
}

void reserve_release(void) {
        if (reserved >= 0)
                close(reserved);
        reserved = -1;
}

int reserve_accept(int listening_fd) {
        int fd = accept4(listening_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), r;

        if (fd >= 0)
                return fd;
        if (errno != EMFILE || reserved < 0)
                return -errno;
        reserve_release();
        fd = accept4(listening_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        r = -errno;
        if (fd >= 0)
                return fd;
        reserve_keep();
        return r;
}
