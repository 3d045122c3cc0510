/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/identity.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "daemon/peer.h"
#include "lib/cleanup.h"

/* A pid may have been used again since listen(2), while a child of that process holds the socket. */
static int check_listener(int fd, const Target *t) {
        _cleanup_fd_ int pidfd = -1;
        socklen_t n = sizeof(pidfd);
        struct pollfd ended = { .events = POLLIN };

        if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &n) < 0) {
                pidfd = -1;
                if (errno == ENOPROTOOPT)
                        return t->doubtful ? IDENTITY_E_OTHER_PROCESS : 0;
                return errno == EMFILE || errno == ENFILE ? -errno : IDENTITY_E_OTHER_PROCESS;
        }
        ended.fd = pidfd;
        if (poll(&ended, 1, 0) < 0)
                return -errno;
        /* While it lives its pid is no other's. */
        return ended.revents ? IDENTITY_E_OTHER_PROCESS : 0;
}

int identity_check(int fd, const Target *t, const ProcStatus *ids) {
        struct pollfd ended = { .fd = t->pidfd, .events = POLLIN };
        struct ucred cred;
        socklen_t n = sizeof(cred);
        ProcStatus now;
        int r;

        if (!t->has_process || t->pidfd < 0)
                return IDENTITY_E_GONE;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
                return -errno;
        if (cred.pid != t->pid)
                return IDENTITY_E_OTHER_PROCESS;
        r = check_listener(fd, t);
        if (r != 0)
                return r;
        r = proc_read_status(t->pid, &now);
        if (r < 0)
                return IDENTITY_E_GONE;
        if (now.ruid != ids->ruid || now.euid != ids->euid || now.suid != ids->suid)
                return IDENTITY_E_CHANGED;
        /* One that listened as root and then became somebody else still shows root. */
        if (cred.uid != 0 && cred.uid != now.ruid && cred.uid != now.euid && cred.uid != now.suid)
                return IDENTITY_E_OTHER_USER;
        /* Last: all that was read above was read while the process lived. */
        if (poll(&ended, 1, 0) < 0)
                return -errno;
        return ended.revents ? IDENTITY_E_GONE : 0;
}

const char *identity_reason(int verdict) {
        switch (verdict) {
        case IDENTITY_E_OTHER_PROCESS:
                return "another process listens on the target's socket";
        case IDENTITY_E_OTHER_USER:
                return "another user listens on the target's socket";
        case IDENTITY_E_CHANGED:
                return "the process has just become another user";
        case IDENTITY_E_GONE:
                return "the process has ended";
        default:
                return "the target's identity cannot be checked";
        }
}
