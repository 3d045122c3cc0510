/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/peer.h"

#include <errno.h>
#include <sys/socket.h>

int peer_read(int fd, Peer *ret) {
        struct ucred cred;
        socklen_t n = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
                return -errno;
        *ret = (Peer){ .pid = cred.pid, .uid = cred.uid, .gid = cred.gid };
        return 0;
}
