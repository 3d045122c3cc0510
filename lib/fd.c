/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/console.h"

int fd_connect_unix(const char *path, int *ret_fd) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        _cleanup_fd_ int fd = -1;

        if (!*path)
                return -ENOENT; /* to the kernel it is an abstract name, which anybody may have bound */
        if (strlen(path) >= sizeof(sa.sun_path))
                return -ENAMETOOLONG;
        strcpy(sa.sun_path, path);

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
                return -errno;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* The name is @prefix and 64 random bits, which only keep names apart. */
static int bind_name(int fd, const char *prefix) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        uint64_t random;
        int n;

        if (getrandom(&random, sizeof(random), 0) != sizeof(random))
                return -EIO;
        n = snprintf(sa.sun_path + 1, sizeof(sa.sun_path) - 1, "%s%016jx", prefix, (uintmax_t)random);
        if (bind(fd, (const struct sockaddr *)&sa,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) < 0)
                return -errno;
        return 0;
}

#define STRING_OF(x) #x
#define FRAMED_PREFIX(version) CONSOLE_NAME_PREFIX STRING_OF(version) "/"

int fd_bind_console_name(int fd) {
        return bind_name(fd, FRAMED_PREFIX(CONSOLE_VERSION));
}

int fd_bind_broker_name(int fd, bool framed) {
        return bind_name(fd, framed ? FRAMED_PREFIX(CONSOLE_VERSION) CONSOLE_BROKER_MARK : CONSOLE_BROKER_PREFIX);
}

bool fd_is_hung_up(int fd) {
        struct pollfd p = { .fd = fd };

        return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

int fd_set_nonblock(int fd, bool nonblock) {
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0)
                return -errno;
        flags = nonblock ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
        return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int fd_write_all(int fd, const void *data, size_t n) {
        const uint8_t *p = data;

        while (n > 0) {
                ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

                if (k < 0 && errno == ENOTSOCK)
                        k = write(fd, p, n);
                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                p += k;
                n -= (size_t)k;
        }
        return 0;
}

int fd_read_file(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_n) {
        _cleanup_free_ char *data = NULL;
        _cleanup_fd_ int fd = -1;
        size_t n = 0, allocated = 0;

        fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;

        for (;;) {
                ssize_t k;

                if (n + 1 >= allocated) {
                        size_t more = allocated > 0 ? allocated * 2 : 1024;
                        char *grown = realloc(data, more);

                        if (!grown)
                                return -ENOMEM;
                        data = grown;
                        allocated = more;
                }
                k = read(fd, data + n, allocated - n - 1);
                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (k == 0)
                        break;
                n += (size_t)k;
                if (n > max)
                        return -EFBIG;
        }

        data[n] = '\0';
        *ret_data = TAKE_PTR(data);
        if (ret_n)
                *ret_n = n;
        return 0;
}
