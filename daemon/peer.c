/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "lib/cleanup.h"

/* Enough for almost everybody; who has more needs a second call. */
#define GROUPS_AT_FIRST 64U

int peer_read(int fd, Peer *ret) {
        struct ucred cred;
        socklen_t n = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
                return -errno;
        *ret = (Peer){ .pid = cred.pid, .uid = cred.uid, .gid = cred.gid };
        return 0;
}

static int read_all_groups(int fd, gid_t **ret, size_t *ret_n) {
        socklen_t size = GROUPS_AT_FIRST * sizeof(gid_t);

        for (;;) {
                _cleanup_free_ gid_t *groups = malloc(size);

                if (!groups)
                        return -ENOMEM;
                if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0) {
                        *ret_n = size / sizeof(gid_t);
                        *ret = TAKE_PTR(groups);
                        return 0;
                }
                /* The credentials of a connection do not change, so the size that it tells will do. */
                if (errno != ERANGE)
                        return -errno;
        }
}

static int keep(gid_t **groups, size_t *n, gid_t group) {
        gid_t *grown;

        for (size_t i = 0; i < *n; i++)
                if ((*groups)[i] == group)
                        return 0;
        grown = reallocarray(*groups, *n + 1, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        grown[(*n)++] = group;
        *groups = grown;
        return 0;
}

int peer_read_groups(int fd, gid_t gid, bool (*wanted)(gid_t group, const void *userdata),
                     const void *userdata, gid_t **ret_groups, size_t *ret_n) {
        _cleanup_free_ gid_t *all = NULL, *kept = NULL;
        size_t n_all = 0, n = 0;
        int r = read_all_groups(fd, &all, &n_all);

        if (r == 0 && wanted(gid, userdata))
                r = keep(&kept, &n, gid);
        for (size_t i = 0; r == 0 && i < n_all; i++)
                if (wanted(all[i], userdata))
                        r = keep(&kept, &n, all[i]);
        if (r < 0)
                return r;
        *ret_groups = TAKE_PTR(kept);
        *ret_n = n;
        return 0;
}
