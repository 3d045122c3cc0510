/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/priv-start.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/priv-place.h"
#include "lib/cleanup.h"
#include "lib/fd.h"

static int capabilities_get(uint64_t *ret_effective) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = {};

        if (syscall(SYS_capget, &header, data) < 0)
                return -errno;
        *ret_effective = (uint64_t)data[1].effective << 32 | data[0].effective;
        return 0;
}

int priv_keep_capabilities(unsigned mask) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = { { .effective = mask, .permitted = mask } };

        for (unsigned long cap = 0; cap <= CAP_LAST_CAP; cap++)
                if (cap >= 32 || !(mask & 1U << cap))
                        /* Without CAP_SETPCAP the bounding set is systemd's business; what counts
                         * is that execve() cannot bring anything back, hence no-new-privs below. */
                        (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
        (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        if (syscall(SYS_capset, &header, data) < 0)
                return -errno;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        return 0;
}

/* An installed manholed starts the installed helper, one in a build folder its neighbour. */
static int helper_path(char *ret, size_t size) {
        char self[4096];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        char *slash;

        if (n < 0)
                return -errno;
        self[n] = '\0';
        if (strcmp(self, MANHOLED_PATH) == 0) {
                (void)snprintf(ret, size, "%s", MANHOLED_PRIV_PATH);
                return 0;
        }
        slash = strrchr(self, '/');
        if (!slash)
                return -ENOENT;
        *slash = '\0';
        if ((size_t)snprintf(ret, size, "%s/manholed-priv", self) >= size)
                return -ENAMETOOLONG;
        return 0;
}

static int start_child(int *ret_fd) {
        _cleanup_fd_ int ours = -1, theirs = -1;
        char path[4096];
        int pair[2], r;
        pid_t pid;

        r = helper_path(path, sizeof(path));
        if (r < 0)
                return r;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        theirs = pair[1];

        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                /* It ends when the channel does: no signal, no pid to keep. */
                if (dup2(theirs, PRIV_CHILD_FD) == PRIV_CHILD_FD &&
                    (theirs != PRIV_CHILD_FD || fcntl(theirs, F_SETFD, 0) == 0))
                        execl(path, "manholed-priv", "--channel", (char *)NULL);
                log_error("Cannot start %s: %s", path, strerror(errno));
                _exit(1);
        }
        r = fd_set_nonblock(ours, true);
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(ours);
        return 0;
}

int priv_start(PrivBackend *ret_backend, int *ret_fd) {
        PrivBackend backend = PRIV_BACKEND_IN_PLACE;
        _cleanup_fd_ int fd = -1;
        uint64_t effective = 0;
        int r;

        if (geteuid() == 0) {
                r = capabilities_get(&effective);
                if (r < 0)
                        return r;
                backend = effective != 0 ? PRIV_BACKEND_CHILD : PRIV_BACKEND_SERVICE;
        }
        if (backend == PRIV_BACKEND_CHILD) {
                r = start_child(&fd);
                if (r < 0)
                        return r;
        }
        r = priv_keep_capabilities(0);
        if (r < 0)
                return r;
        *ret_backend = backend;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int priv_start_connect(int *ret_fd) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = PRIV_SOCKET_PATH };
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}
