/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/fd.h"
#include "lib/parse.h"

#define PROC_FILE_MAX (64U * 1024U)
#define PROC_MAPS_MAX (1024U * 1024U)
#define DELETED " (deleted)"
#define AGENT_LIBRARY "/manhole/_agent.abi3.so"

int proc_parse_stat(const char *text, ProcStat *ret) {
        /* The name may hold anything, closing parentheses and line ends included. */
        const char *open = strchr(text, '('), *close = strrchr(text, ')');
        ProcStat stat = {};
        size_t n;

        if (!open || !close || close < open)
                return -EBADMSG;
        n = (size_t)(close - open - 1);
        if (n >= sizeof(stat.comm))
                n = sizeof(stat.comm) - 1;
        memcpy(stat.comm, open + 1, n);

        /* Fields 3 (state) to 22 (starttime). */
        if (sscanf(close + 1,
                   " %c %*s %*s %*s %u %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64,
                   &stat.state, &stat.tty, &stat.start_time) != 3)
                return -EBADMSG;
        *ret = stat;
        return 0;
}

static const char *find_line(const char *text, const char *key) {
        size_t n = strlen(key);

        for (const char *line = text; line; line = strchr(line, '\n')) {
                if (*line == '\n')
                        line++;
                if (strncmp(line, key, n) == 0)
                        return line + n;
        }
        return NULL;
}

int proc_parse_status(const char *text, ProcStatus *ret) {
        const char *uids = find_line(text, "Uid:"), *pids = find_line(text, "NSpid:"), *state = find_line(text, "State:");
        unsigned ruid, euid, suid;
        ProcStatus status = {};
        unsigned depth = 0;
        char *end;

        if (!uids || sscanf(uids, "%u %u %u", &ruid, &euid, &suid) != 3)
                return -EBADMSG;
        if (state)
                status.state = state[strspn(state, "\t ")];
        status.ruid = ruid;
        status.euid = euid;
        status.suid = suid;

        for (; pids; pids = end, depth++) {
                long pid;

                while (*pids == '\t' || *pids == ' ')
                        pids++;
                if (*pids < '0' || *pids > '9')
                        break;
                pid = strtol(pids, &end, 10);
                status.ns_pid = (pid_t)pid;
        }
        if (depth == 0)
                return -EBADMSG;
        status.ns_nested = depth > 1;
        *ret = status;
        return 0;
}

bool proc_parse_uid_map(const char *text, uid_t outside) {
        uint64_t first, count;
        int n;

        for (; sscanf(text, "%*u %" SCNu64 " %" SCNu64 "%n", &first, &count, &n) == 2; text += n)
                if (outside >= first && outside - first < count)
                        return true;
        return false;
}

/* Majors as in the kernel's devices.txt. */
void proc_tty_name(unsigned tty, char ret[PROC_TTY_MAX]) {
        unsigned major = tty >> 8 & 0xfffU, minor = (tty & 0xffU) | (tty >> 12 & 0xfff00U);

        if (major == 136)
                (void)snprintf(ret, PROC_TTY_MAX, "pts/%u", minor);
        else if (major == 4 && minor < 64)
                (void)snprintf(ret, PROC_TTY_MAX, "tty%u", minor);
        else if (major == 4)
                (void)snprintf(ret, PROC_TTY_MAX, "ttyS%u", minor - 64);
        else
                (void)snprintf(ret, PROC_TTY_MAX, "%u:%u", major, minor);
}

/* "python3.11", "libpython3.11.so.1.0", "python3.13t" → "3.11", "3.13" */
static void take_version(const char *name, char ret[8]) {
        const char *p;
        size_t n = 0;

        if (strncmp(name, "lib", 3) == 0)
                name += 3;
        if (strncmp(name, "python", 6) != 0)
                return;
        p = name + 6;
        if (p[0] < '2' || p[0] > '9' || p[1] != '.' || p[2] < '0' || p[2] > '9')
                return;
        n = 3;
        if (p[3] >= '0' && p[3] <= '9')
                n = 4;
        memcpy(ret, p, n);
        ret[n] = '\0';
}

void proc_parse_maps_line(const char *line, ProcPython *python) {
        const char *path = strchr(line, '/'), *name;
        size_t n;

        if (!path)
                return;
        n = strcspn(path, "\n");
        name = path;
        for (size_t i = 0; i < n; i++)
                if (path[i] == '/')
                        name = path + i;

        if (!python->version[0])
                take_version(name + 1, python->version);
        if (n >= strlen(AGENT_LIBRARY) && !python->native) {
                const char *at = strstr(path, AGENT_LIBRARY);

                python->native = at && at < path + n;
        }
}

static int read_text(pid_t pid, const char *file, char **ret) {
        char path[64];

        (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
        return fd_read_file(AT_FDCWD, path, PROC_FILE_MAX, ret, NULL);
}

int proc_read_stat(pid_t pid, ProcStat *ret) {
        _cleanup_free_ char *text = NULL;
        int r = read_text(pid, "stat", &text);

        return r < 0 ? r : proc_parse_stat(text, ret);
}

int proc_read_status(pid_t pid, ProcStatus *ret) {
        _cleanup_free_ char *text = NULL;
        int r = read_text(pid, "status", &text);

        return r < 0 ? r : proc_parse_status(text, ret);
}

static uint32_t read_id(pid_t pid, const char *file) {
        _cleanup_free_ char *text = NULL;
        uint64_t id;

        if (read_text(pid, file, &text) < 0 || parse_u64(text, UINT32_MAX, &id) < 0)
                return PROC_AUDIT_UNSET;
        return (uint32_t)id;
}

void proc_read_audit(pid_t pid, ProcAudit *ret) {
        *ret = (ProcAudit){ .login_uid = read_id(pid, "loginuid"), .session = read_id(pid, "sessionid") };
}

int proc_read_command(pid_t pid, char *ret, size_t size) {
        _cleanup_fd_ int fd = -1;
        char path[64];
        ssize_t n;

        (void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, ret, size - 1);
        if (n < 0)
                return -errno;
        while (n > 0 && ret[n - 1] == '\0')
                n--;
        for (ssize_t i = 0; i < n; i++)
                if (ret[i] == '\0')
                        ret[i] = ' ';
        ret[n] = '\0';
        return 0;
}

int proc_read_python(int maps_fd, ProcPython *ret) {
        char buffer[8192 + 1];
        ProcPython python = {};
        size_t held = 0, total = 0;

        while (total < PROC_MAPS_MAX && !(python.native && python.version[0])) {
                char *line = buffer, *end;
                ssize_t k = read(maps_fd, buffer + held, sizeof(buffer) - 1 - held);

                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                total += (size_t)k;
                held += (size_t)k;
                buffer[held] = '\0';
                while ((end = memchr(line, '\n', held - (size_t)(line - buffer)))) {
                        *end = '\0';
                        proc_parse_maps_line(line, &python);
                        line = end + 1;
                }
                held -= (size_t)(line - buffer);
                memmove(buffer, line, held);
                if (held == sizeof(buffer) - 1)
                        held = 0; /* a line longer than any path: not ours */
        }
        *ret = python;
        return 0;
}

int proc_read_executable(int exe_fd, char **ret) {
        char link[64], path[PATH_MAX];
        size_t n_deleted = strlen(DELETED);
        char *copy;
        ssize_t n;

        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", exe_fd);
        n = readlink(link, path, sizeof(path));
        if (n < 0)
                return -errno;
        if ((size_t)n == sizeof(path))
                return -ENAMETOOLONG;
        path[n] = '\0';
        if ((size_t)n > n_deleted && strcmp(path + n - n_deleted, DELETED) == 0)
                path[(size_t)n - n_deleted] = '\0';
        copy = strdup(path);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

int proc_knows_root(pid_t pid) {
        _cleanup_free_ char *theirs = NULL, *ours = NULL;
        int r = read_text(pid, "uid_map", &theirs);

        if (r < 0)
                return r;
        r = read_text(getpid(), "uid_map", &ours);
        if (r < 0)
                return r;
        /* That of our own namespace is told as its parent sees it. */
        return strcmp(theirs, ours) == 0 || proc_parse_uid_map(theirs, 0);
}

bool proc_started_after(uint64_t start_time, int64_t ctime_sec) {
        struct timespec now, up;
        int64_t started;

        if (clock_gettime(CLOCK_REALTIME, &now) < 0 || clock_gettime(CLOCK_BOOTTIME, &up) < 0)
                return false;
        started = (int64_t)now.tv_sec - (int64_t)up.tv_sec + (int64_t)start_time / sysconf(_SC_CLK_TCK);
        return started > ctime_sec + 2;
}

int proc_pidfd(pid_t pid) {
        int fd = (int)syscall(SYS_pidfd_open, pid, 0U);

        return fd < 0 ? -errno : fd;
}
