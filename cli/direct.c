/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The way to a target without manholed: see session.h. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/deadline.h"
#include "cli/direct.h"
#include "cli/exit-status.h"
#include "cli/message.h"
#include "cli/process.h"
#include "cli/session.h"
#include "lib/cleanup.h"
#include "lib/fd.h"
#include "lib/parse.h"

#define SOCKET_PREFIX "/tmp/manhole-"
/* Of silence, after which the other side is the pure-Python package: docs/CONSOLE-PROTOCOL.md. */
#define HELLO_USEC (2 * USEC_PER_SEC)

#define PATH_SIZE sizeof(((struct sockaddr_un *)NULL)->sun_path)

pid_t direct_pid(const char *target) {
        size_t n = strlen(SOCKET_PREFIX);
        pid_t pid;

        return parse_pid(strncmp(target, SOCKET_PREFIX, n) == 0 ? target + n : target, &pid) == 0 ? pid : 0;
}

void direct_list(Survey *s) {
        glob_t found;

        if (glob(SOCKET_PREFIX "*", 0, NULL, &found) != 0)
                return;
        for (size_t i = 0; i < found.gl_pathc; i++) {
                pid_t pid = direct_pid(found.gl_pathv[i]);
                char folder[32];
                struct stat st;

                (void)snprintf(folder, sizeof(folder), "/proc/%d", (int)pid);
                if (pid > 0 && stat(folder, &st) == 0 && (geteuid() == 0 || st.st_uid == geteuid()) &&
                    !process_lacks_agent(pid))
                        survey_add(s, found.gl_pathv[i]);
        }
        globfree(&found);
}

/* The socket's path, and the PID its name promises (0 when it promises none). */
static int resolve(const char *target, char ret_path[PATH_SIZE], pid_t *ret_pid) {
        pid_t pid;

        *ret_pid = direct_pid(target);
        if (parse_pid(target, &pid) == 0) {
                (void)snprintf(ret_path, PATH_SIZE, SOCKET_PREFIX "%d", (int)pid);
        } else if (!strchr(target, '/')) {
                message_error("without manholed a target is a PID or the path of a socket, not %s", target);
                return EXIT_USAGE;
        } else if (strlen(target) >= PATH_SIZE) {
                message_error("%s: longer than the path of a socket can be", target);
                return EXIT_NO_TARGET;
        } else {
                strcpy(ret_path, target);
        }
        return EXIT_DONE;
}

static int say_unreachable(const char *path, int error) {
        struct stat st;

        switch (error) {
        case -ENOENT:
                message_error("no manhole at %s", path);
                return EXIT_NO_TARGET;
        case -ENOTSOCK:
                message_error("%s is not a socket", path);
                return EXIT_NO_TARGET;
        case -ECONNREFUSED:
                message_error("nobody listens at %s any more: its process has ended", path);
                return EXIT_FAILED;
        case -EACCES:
        case -EPERM:
                if (lstat(path, &st) == 0 && st.st_uid == geteuid())
                        message_error("%s is for root alone: go through manholed, without --direct", path);
                else
                        message_error("%s belongs to another user", path);
                return EXIT_REFUSED;
        default:
                message_error("cannot connect to %s: %s", path, strerror(-error));
                return EXIT_FAILED;
        }
}

static int connect_framed(const char *path, int *ret_fd) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        _cleanup_fd_ int fd = -1;
        struct stat st;
        int r;

        strcpy(sa.sun_path, path);
        if (stat(path, &st) < 0)
                return -errno;
        if (!S_ISSOCK(st.st_mode))
                return -ENOTSOCK;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        r = fd_bind_console_name(fd);
        if (r < 0)
                return r;
        if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* Is who listens the process that the name promises, and one that the caller may enter? Anybody
 * can make a socket in /tmp; only the kernel says whose it is. */
static int check_listener(int fd, const char *path, pid_t pid, pid_t *ret_pid) {
        struct ucred cred;
        socklen_t size = sizeof(cred);
        char folder[32];
        struct stat st;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
                return say_unreachable(path, -errno);
        if (pid != 0 && cred.pid != pid) {
                message_error("%s is not the socket of process %d: process %d listens there", path, (int)pid,
                              (int)cred.pid);
                return EXIT_REFUSED;
        }
        (void)snprintf(folder, sizeof(folder), "/proc/%d", (int)cred.pid);
        if (cred.pid <= 0 || stat(folder, &st) < 0) {
                message_error("the process that made %s is gone, or cannot be seen from here", path);
                return EXIT_FAILED;
        }
        if (st.st_uid != cred.uid) {
                message_error("%s was made by uid %u, but process %d is uid %u", path, cred.uid,
                              (int)cred.pid, st.st_uid);
                return EXIT_REFUSED;
        }
        *ret_pid = cred.pid;
        return EXIT_DONE;
}

/* The first byte tells frames from text. */
static int first_byte(int fd, uint64_t deadline, bool *ret_framed) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        uint64_t patience = deadline_in(HELLO_USEC);
        struct timespec ts;
        char byte;
        ssize_t n;

        if (patience > deadline)
                patience = deadline;
        do
                n = ppoll(&p, 1, deadline_left(patience, &ts), NULL);
        while (n < 0 && errno == EINTR);
        if (n == 0) {
                *ret_framed = false;
                return EXIT_DONE;
        }
        n = recv(fd, &byte, 1, MSG_PEEK);
        if (n <= 0) {
                message_error("the process refused the connection");
                return EXIT_REFUSED;
        }
        *ret_framed = byte == '\0';
        return EXIT_DONE;
}

int session_open_direct(Session *s, const char *target, uint64_t deadline) {
        _cleanup_fd_ int fd = -1;
        char path[PATH_SIZE];
        bool framed;
        pid_t pid;
        int r;

        r = resolve(target, path, &pid);
        if (r != EXIT_DONE)
                return r;
        r = connect_framed(path, &fd);
        if (r < 0)
                return say_unreachable(path, r);
        r = check_listener(fd, path, pid, &s->pid);
        if (r == EXIT_DONE)
                r = first_byte(fd, deadline, &framed);
        if (r != EXIT_DONE)
                return r;
        r = fd_set_nonblock(fd, true);
        if (r < 0)
                return say_unreachable(path, r);
        channel_init_consume(&s->channel, TAKE_FD(fd), framed, NULL, 0);
        return EXIT_DONE;
}
