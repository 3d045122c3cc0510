/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/priv-ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/manhole-name.h"
#include "daemon/priv-namespaces.h"
#include "daemon/procfs.h"
#include "daemon/socket-file.h"
#include "lib/cleanup.h"
#include "lib/fd.h"

/* The socket behind an O_PATH descriptor, wherever its folder is and whoever may search it. */
static struct sockaddr_un fd_address(int fd) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };

        (void)snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d", fd);
        return sa;
}

static int check_socket(int fd, struct stat *ret) {
        int flags = fcntl(fd, F_GETFL);
        struct stat st;

        if (flags < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!(flags & O_PATH) || !S_ISSOCK(st.st_mode))
                return -ENOTSOCK;
        *ret = st;
        return 0;
}

/* A datagram connect never reaches the listener's queue: unix(7), EPROTOTYPE. */
static int probe(int socket_fd) {
        struct sockaddr_un sa = fd_address(socket_fd);
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0)
                return -EPROTOTYPE;
        return errno == EPROTOTYPE ? 0 : -errno;
}

/* Only sockets that bear a manhole's name are connected to, and only as root or as the socket's
 * owner: this must not become a way to every other socket of the machine. */
static int may_connect_as(int socket_fd, const struct stat *st, uid_t uid) {
        char link[64], path[4096];
        const char *name;
        pid_t pid;
        ssize_t n;

        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", socket_fd);
        n = readlink(link, path, sizeof(path) - 1);
        if (n < 0)
                return -errno;
        path[n] = '\0';
        name = strrchr(path, '/');
        if (!name || manhole_name_parse(name + 1, &pid) < 0)
                return -EINVAL;
        return uid == 0 || uid == geteuid() || uid == st->st_uid ? 0 : -EPERM;
}

static int connect_as(int socket_fd, const struct stat *st, uid_t uid, bool framed, int *ret_fd) {
        struct sockaddr_un sa = fd_address(socket_fd);
        _cleanup_fd_ int fd = -1;
        uid_t self = geteuid();
        int r, error;

        r = may_connect_as(socket_fd, st, uid);
        if (r < 0)
                return r;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        r = fd_bind_broker_name(fd, framed);
        if (r < 0)
                return r;

        /* SO_PEERCRED at the agent shows the effective uid at connect(). This process has one
         * thread, so the raw call is the whole change. */
        if (uid != self && syscall(SYS_setresuid, -1, uid, -1) < 0)
                return -errno;
        error = connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 ? errno : 0;
        if (uid != self && syscall(SYS_setresuid, -1, self, -1) < 0)
                _exit(1); /* never go on as somebody else */
        if (error != 0)
                return -error;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* The process a file is named after is gone, or is another one that came later. */
static bool owner_is_gone(pid_t pid, uint64_t start_time, const struct stat *st) {
        ProcStat stat;
        int r = pid > 0 ? proc_read_stat(pid, &stat) : -ESRCH;

        if (r == 0 && start_time != 0 && stat.start_time != start_time)
                return true;
        if (r == -ENOENT || r == -ESRCH)
                return true;
        return r == 0 && (stat.state == 'Z' || stat.state == 'X' ||
                          proc_started_after(stat.start_time, st->st_ctim.tv_sec));
}

static int check_stale(int folder_fd, int socket_fd, const PrivRequest *request, struct stat *ret) {
        const char *name = request->name;
        struct stat st, now;
        pid_t pid;
        int r;

        if (manhole_name_parse(name, &pid) < 0)
                return -EINVAL;
        r = check_socket(socket_fd, &st);
        if (r < 0)
                return r;
        if (socket_file_is_young(&st))
                return -EAGAIN;
        /* In a pid namespace the name's number is not ours. */
        if (!owner_is_gone(request->pid != 0 ? request->pid : pid, request->pid > 0 ? request->start_time : 0, &st))
                return -EBUSY;
        for (unsigned i = 0; i < 2; i++)
                if (probe(socket_fd) != -ECONNREFUSED)
                        return -EBUSY;

        if (fstatat(folder_fd, name, &now, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!socket_file_same(&st, &now))
                return -ESTALE;
        *ret = st;
        return 0;
}

static int unlink_stale(int folder_fd, int socket_fd, const PrivRequest *request) {
        struct stat st, now;
        int r = check_stale(folder_fd, socket_fd, request, &st);

        if (r < 0)
                return r;
        if (unlinkat(folder_fd, request->name, 0) < 0)
                return -errno;
        /* A rename between the last two calls cannot be excluded, only noticed. */
        if (fstat(socket_fd, &now) < 0)
                return -errno;
        return now.st_nlink < st.st_nlink ? 0 : -ESTALE;
}

int priv_open_of_process(pid_t pid, uint64_t start_time, const char *name, int flags, int *ret_fd) {
        _cleanup_fd_ int fd = -1;
        char path[64];
        ProcStat stat;
        int r;

        if (pid <= 0)
                return -EINVAL;
        (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
        fd = open(path, flags | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        /* The descriptor is bound to one process; if that still is the one meant, it was then. */
        r = proc_read_stat(pid, &stat);
        if (r < 0)
                return r;
        if (stat.start_time != start_time)
                return -ESRCH;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int priv_execute(const PrivRequest *request, const int *fds, unsigned n_fds, int *ret_fd) {
        static const unsigned n_expected[_PRIV_OPERATION_MAX] = {
                [PRIV_PROBE] = 1, [PRIV_CONNECT] = 1, [PRIV_UNLINK_STALE] = 2, [PRIV_CHECK_STALE] = 2,
                [PRIV_OPEN_MAPS] = 0, [PRIV_OPEN_EXECUTABLE] = 0, [PRIV_LIST_PROCESSES] = 0, [PRIV_OPEN_TMP] = 0,
        };
        struct stat st;
        int r;

        *ret_fd = -1;
        if (request->operation == 0 || request->operation >= _PRIV_OPERATION_MAX)
                return -EOPNOTSUPP;
        if (n_fds != n_expected[request->operation])
                return -EINVAL;

        switch ((PrivOperation)request->operation) {
        case PRIV_PROBE:
                r = check_socket(fds[0], &st);
                return r < 0 ? r : probe(fds[0]);
        case PRIV_CONNECT:
                r = check_socket(fds[0], &st);
                return r < 0 ? r : connect_as(fds[0], &st, request->uid, request->framed == 1, ret_fd);
        case PRIV_UNLINK_STALE:
        case PRIV_CHECK_STALE:
                if (!memchr(request->name, '\0', sizeof(request->name)))
                        return -EINVAL;
                return request->operation == PRIV_CHECK_STALE ? check_stale(fds[0], fds[1], request, &st) :
                       unlink_stale(fds[0], fds[1], request);
        case PRIV_OPEN_MAPS:
                return priv_open_of_process(request->pid, request->start_time, "maps", O_RDONLY, ret_fd);
        case PRIV_OPEN_EXECUTABLE:
                /* It can be named with that, and not be read. */
                return priv_open_of_process(request->pid, request->start_time, "exe", O_PATH, ret_fd);
        case PRIV_LIST_PROCESSES:
                return priv_namespaces_list(request->pid, ret_fd);
        case PRIV_OPEN_TMP:
                return priv_namespaces_open_tmp(request->pid, request->start_time, ret_fd);
        case _PRIV_OPERATION_MAX:
                break;
        }
        return -EOPNOTSUPP;
}
