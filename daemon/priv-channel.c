/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/priv-channel.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/priv-protocol.h"
#include "lib/cleanup.h"

typedef union Control {
        char bytes[CMSG_SPACE(sizeof(int) * PRIV_FDS_MAX)];
        struct cmsghdr align;
} Control;

int priv_channel_send(int channel, const void *message, size_t n, const int *fds, unsigned n_fds) {
        struct iovec iov = { .iov_base = (void *)message, .iov_len = n };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
        Control control = {};

        assert(n_fds <= PRIV_FDS_MAX);

        if (n_fds > 0) {
                struct cmsghdr *c;

                msg.msg_control = control.bytes;
                msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
                c = CMSG_FIRSTHDR(&msg);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
                memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
        }
        while (sendmsg(channel, &msg, MSG_NOSIGNAL) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

/* Collects what came, whether or not it is wanted: nothing else would ever close it. */
static unsigned take_fds(struct msghdr *msg, int *ret_fds, unsigned max_fds) {
        unsigned n_all = 0;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
                size_t n;

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < n; i++, n_all++) {
                        int fd;

                        memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
                        if (n_all < max_fds)
                                ret_fds[n_all] = fd;
                        else
                                (void)fd_close(fd);
                }
        }
        return n_all;
}

/* Cut short although there was room for more descriptors, and nothing else took it: the kernel could
 * not give us what was sent. */
static bool is_shortage(const struct msghdr *msg, unsigned n_fds) {
        return (msg->msg_flags & MSG_CTRUNC) && n_fds < PRIV_FDS_MAX &&
               msg->msg_controllen <= CMSG_SPACE(sizeof(int) * n_fds);
}

int priv_channel_receive(int channel, void *ret_message, size_t n, int *ret_fds, unsigned max_fds,
                         unsigned *ret_n_fds) {
        struct iovec iov = { .iov_base = ret_message, .iov_len = n };
        Control control;
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
                              .msg_controllen = sizeof(control.bytes) };
        unsigned n_fds;
        ssize_t k;

        assert(max_fds <= PRIV_FDS_MAX);

        for (unsigned i = 0; i < max_fds; i++)
                ret_fds[i] = -1;
        do
                k = recvmsg(channel, &msg, MSG_CMSG_CLOEXEC);
        while (k < 0 && errno == EINTR);
        if (k < 0)
                return -errno;

        n_fds = take_fds(&msg, ret_fds, max_fds);
        if ((size_t)k == n && is_shortage(&msg, n_fds)) {
                for (unsigned i = 0; i < max_fds; i++)
                        ret_fds[i] = fd_close(ret_fds[i]);
                return -EMFILE;
        }
        if ((size_t)k != n || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || n_fds > max_fds) {
                for (unsigned i = 0; i < max_fds; i++)
                        ret_fds[i] = fd_close(ret_fds[i]);
                return k == 0 ? -ECONNRESET : -EBADMSG;
        }
        if (ret_n_fds)
                *ret_n_fds = n_fds;
        return 0;
}
