/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/priv-namespaces.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/priv-ops.h"
#include "daemon/priv-protocol.h"
#include "daemon/procfs.h"
#include "lib/cleanup.h"
#include "lib/parse.h"

/* The kernel's number of a process's mount namespace (namespaces(7)); 0 when it may not be known. */
static uint64_t mount_namespace(const char *process) {
        char path[sizeof("/proc//ns/mnt") + NAME_MAX];
        struct stat st;

        (void)snprintf(path, sizeof(path), "/proc/%s/ns/mnt", process);
        return stat(path, &st) == 0 ? st.st_ino : 0;
}

static int read_process(pid_t pid, PrivProcess *ret) {
        ProcStatus status;
        ProcStat stat;
        int r = proc_read_status(pid, &status);

        if (r == 0)
                r = proc_read_stat(pid, &stat);
        if (r < 0)
                return r;
        ret->pid = pid;
        ret->ns_pid = status.ns_pid;
        ret->start_time = stat.start_time;
        return 0;
}

static size_t list(DIR *dir, pid_t after, PrivProcess *ret) {
        uint64_t first = mount_namespace("1"), ours = mount_namespace("self");
        unsigned n_looked_at = 0;
        struct dirent *entry;
        size_t n = 0;

        while ((entry = readdir(dir))) {
                PrivProcess p = {};
                pid_t pid;

                if (parse_pid(entry->d_name, &pid) < 0 || pid <= after)
                        continue;
                if (n_looked_at++ == PRIV_PROCESSES_MAX) {
                        ret[n++] = (PrivProcess){ .pid = after };
                        break;
                }
                after = pid;
                p.mount_ns = mount_namespace(entry->d_name);
                if (p.mount_ns != 0 && p.mount_ns != first && p.mount_ns != ours && read_process(pid, &p) == 0)
                        ret[n++] = p;
        }
        return n;
}

int priv_namespaces_list(pid_t after, int *ret_fd) {
        PrivProcess processes[PRIV_PROCESSES_MAX + 1];
        _cleanup_fd_ int fd = memfd_create("processes", MFD_CLOEXEC);
        DIR *dir;
        size_t n;

        if (fd < 0)
                return -errno;
        dir = opendir("/proc");
        if (!dir)
                return -errno;
        n = list(dir, after, processes);
        (void)closedir(dir);
        if (write(fd, processes, n * sizeof(*processes)) != (ssize_t)(n * sizeof(*processes)))
                return -EIO;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int priv_namespaces_open_tmp(pid_t pid, uint64_t start_time, int *ret_fd) {
        _cleanup_fd_ int root = -1;
        int fd, r = priv_open_of_process(pid, start_time, "root", O_PATH | O_DIRECTORY, &root);

        if (r < 0)
                return r;
        /* One name, and no link: nothing leads out of that root. openat2(2) would say so itself, but
         * RestrictSUIDSGID= has none of it. */
        fd = openat(root, "tmp", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}
