/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/peer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/cleanup.h"
#include "lib/escape.h"

/* Enough for almost everybody; who has more needs a second call. */
#define GROUPS_AT_FIRST 64U

/* The process that connected. Where the kernel cannot tell, the one that has its pid now: another only if
 * all pids were given out since. */
int peer_pidfd(int fd, pid_t pid) {
        socklen_t n = sizeof(int);
        int pidfd;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &n) == 0)
                return pidfd;
        return errno == ENOPROTOOPT ? proc_pidfd(pid) : -errno;
}

/* Files that the kernel answers from memory of its own, unlike a command line: this is the loop. */
static void read_origin(int fd, Peer *peer) {
        _cleanup_fd_ int pidfd = peer->pid > 0 ? peer_pidfd(fd, peer->pid) : -ESRCH;
        ProcAudit audit;
        ProcStat stat;

        if (pidfd < 0 || proc_read_stat(peer->pid, &stat) < 0)
                return;
        proc_read_audit(peer->pid, &audit);
        /* It lives, so what was read is its own. */
        if (poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 0) != 0)
                return;
        peer->audit = audit;
        if (stat.tty != 0)
                proc_tty_name(stat.tty, peer->tty);
        escape_text(peer->comm, sizeof(peer->comm), stat.comm, strlen(stat.comm));
}

int peer_read(int fd, Peer *ret) {
        struct ucred cred;
        socklen_t n = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
                return -errno;
        *ret = (Peer){ .pid = cred.pid,
                       .uid = cred.uid,
                       .gid = cred.gid,
                       .audit = { PROC_AUDIT_UNSET, PROC_AUDIT_UNSET } };
        read_origin(fd, ret);
        return 0;
}

static const char *text_or_null(const char *text) {
        return *text ? text : NULL;
}

RecordOrigin peer_origin(const Peer *peer) {
        return (RecordOrigin){ .login_uid = peer->audit.login_uid,
                               .audit_session = peer->audit.session,
                               .tty = text_or_null(peer->tty),
                               .comm = text_or_null(peer->comm) };
}

RecordActor peer_actor(const Peer *peer, const char *user, const RecordOrigin *origin) {
        return (RecordActor){ .uid = peer->uid, .user = user, .pid = peer->pid, .origin = origin };
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
