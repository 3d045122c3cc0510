/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/identity.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

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
