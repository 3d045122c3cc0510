/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/task.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* How much of what the C library keeps of a thread is looked at. */
#define THREAD_SIZE 4096

/* What threads wait in. The numbers differ by architecture, and not every one has all. */
static const struct {
        long number;
        const char *name;
} calls[] = {
        { SYS_read, "read" },
        { SYS_write, "write" },
        { SYS_readv, "readv" },
        { SYS_writev, "writev" },
        { SYS_pread64, "pread64" },
        { SYS_pwrite64, "pwrite64" },
        { SYS_ppoll, "ppoll" },
        { SYS_pselect6, "pselect6" },
        { SYS_epoll_pwait, "epoll_pwait" },
#ifdef SYS_poll
        { SYS_poll, "poll" },
#endif
#ifdef SYS_select
        { SYS_select, "select" },
#endif
#ifdef SYS_epoll_wait
        { SYS_epoll_wait, "epoll_wait" },
#endif
#ifdef SYS_open
        { SYS_open, "open" },
#endif
#ifdef SYS_pause
        { SYS_pause, "pause" },
#endif
        { SYS_futex, "futex" },
        { SYS_nanosleep, "nanosleep" },
        { SYS_clock_nanosleep, "clock_nanosleep" },
        { SYS_restart_syscall, "restart_syscall" },
        { SYS_accept, "accept" },
        { SYS_accept4, "accept4" },
        { SYS_connect, "connect" },
        { SYS_recvfrom, "recvfrom" },
        { SYS_recvmsg, "recvmsg" },
        { SYS_sendto, "sendto" },
        { SYS_sendmsg, "sendmsg" },
        { SYS_wait4, "wait4" },
        { SYS_waitid, "waitid" },
        { SYS_openat, "openat" },
        { SYS_flock, "flock" },
        { SYS_fcntl, "fcntl" },
        { SYS_ioctl, "ioctl" },
        { SYS_fsync, "fsync" },
        { SYS_fdatasync, "fdatasync" },
        { SYS_rt_sigtimedwait, "rt_sigtimedwait" },
        { SYS_rt_sigsuspend, "rt_sigsuspend" },
        { SYS_clone, "clone" },
        { SYS_mmap, "mmap" },
        { SYS_munmap, "munmap" },
        { SYS_madvise, "madvise" },
};

/* Reads a small file of one task, without its newline. False when it cannot be read. */
static bool read_file(pid_t id, const char *name, char *buffer, size_t n) {
        char path[64];
        ssize_t n_read;
        int fd;

        snprintf(path, sizeof(path), "/proc/self/task/%ld/%s", (long)id, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        n_read = read(fd, buffer, n - 1);
        close(fd);
        if (n_read <= 0)
                return false;
        if (buffer[n_read - 1] == '\n')
                n_read--;
        buffer[n_read] = '\0';
        return true;
}

static void read_syscall(Task *t) {
        char buffer[256], *end;
        long number;

        if (!read_file(t->id, "syscall", buffer, sizeof(buffer)))
                return;
        number = strtol(buffer, &end, 10);
        if (end == buffer || number < 0)
                return; /* "running", or no system call */
        if (number == SYS_futex)
                t->futex = (uintptr_t)strtoull(end, NULL, 16);
        for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
                if (calls[i].number == number) {
                        snprintf(t->syscall, sizeof(t->syscall), "%s", calls[i].name);
                        return;
                }
        snprintf(t->syscall, sizeof(t->syscall), "system call %ld", number);
}

bool task_look(Task *t) {
        char buffer[512], *end;

        /* The name may hold anything, parentheses and newlines included: what follows the last one is
         * the state. */
        if (!read_file(t->id, "comm", t->name, sizeof(t->name)) ||
            !read_file(t->id, "stat", buffer, sizeof(buffer)))
                return false;
        end = strrchr(buffer, ')');
        t->state = '?';
        if (end != NULL && end[1] == ' ')
                t->state = end[2];
        read_syscall(t);
        if (read_file(t->id, "wchan", buffer, sizeof(buffer)) && strcmp(buffer, "0") != 0)
                snprintf(t->wchan, sizeof(t->wchan), "%.*s", (int)sizeof(t->wchan) - 1, buffer);
        return true;
}

static int compare(const void *a, const void *b) {
        pid_t one = ((const Task *)a)->id, two = ((const Task *)b)->id;

        return (one > two) - (one < two);
}

int task_list_ids(Task **ret, size_t *ret_n) {
        size_t n = 0, n_allocated = 0;
        struct dirent *entry;
        Task *tasks = NULL;
        int r = 0;
        DIR *d;

        d = opendir("/proc/self/task");
        if (d == NULL)
                return -errno;
        while ((entry = readdir(d)) != NULL) {
                long id = strtol(entry->d_name, NULL, 10);

                if (id <= 0)
                        continue;
                if (n == n_allocated) {
                        Task *more;

                        n_allocated = n_allocated * 2 + 16;
                        more = realloc(tasks, n_allocated * sizeof(*tasks));
                        if (more == NULL) {
                                r = -ENOMEM;
                                break;
                        }
                        tasks = more;
                }
                tasks[n++] = (Task){ .id = (pid_t)id };
        }
        closedir(d);
        if (r < 0) {
                free(tasks);
                return r;
        }
        if (n > 0)
                qsort(tasks, n, sizeof(*tasks), compare);
        *ret = tasks;
        *ret_n = n;
        return 0;
}

int task_list(Task **ret, size_t *ret_n) {
        size_t n_all, n = 0;
        Task *tasks;
        int r;

        r = task_list_ids(&tasks, &n_all);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n_all; i++) {
                tasks[n] = tasks[i];
                if (task_look(&tasks[n]))
                        n++;
        }
        *ret = tasks;
        *ret_n = n;
        return 0;
}

size_t task_peek(uintptr_t address, void *buffer, size_t n) {
        struct iovec local = { .iov_base = buffer, .iov_len = n };
        struct iovec remote = { .iov_len = n };
        ssize_t r;

        memcpy(&remote.iov_base, &address, sizeof(address));
        r = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

        return r > 0 ? (size_t)r : 0;
}

/* Whether every thread's task stands at @offset; then they are noted. */
static bool identify_at(size_t offset, Task *tasks, size_t n_tasks, const uintptr_t *thread_ids, size_t n) {
        bool fits = true;

        for (size_t i = 0; i < n && fits; i++) {
                Task key = { .id = 0 }, *t = NULL;

                /* A thread that has ended since it was asked for says nothing for or against. */
                if (task_peek(thread_ids[i] + offset, &key.id, sizeof(key.id)) != sizeof(key.id) ||
                    key.id == 0)
                        continue;
                if (n_tasks > 0)
                        t = bsearch(&key, tasks, n_tasks, sizeof(*tasks), compare);
                fits = t != NULL && (t->thread_id == 0 || t->thread_id == thread_ids[i]);
                if (fits)
                        t->thread_id = thread_ids[i];
        }
        for (size_t i = 0; i < n_tasks && !fits; i++)
                tasks[i].thread_id = 0;
        return fits;
}

void task_identify(Task *tasks, size_t n_tasks, const uintptr_t *thread_ids, size_t n_thread_ids) {
        pid_t own[THREAD_SIZE / sizeof(pid_t)], id = (pid_t)syscall(SYS_gettid);
        size_t n = task_peek((uintptr_t)pthread_self(), own, sizeof(own)) / sizeof(own[0]);

        for (size_t i = 0; i < n; i++)
                if (own[i] == id &&
                    identify_at(i * sizeof(own[0]), tasks, n_tasks, thread_ids, n_thread_ids))
                        return;
}

void task_quote(const Task *t, char *buffer, size_t n) {
        snprintf(buffer, n, "\"%s\"", t->name);
        for (char *p = buffer; *p != '\0'; p++)
                if ((unsigned char)*p < 0x20 || *p == 0x7F)
                        *p = '?';
}

void task_describe(const Task *t, char *buffer, size_t n) {
        static const char letters[] = "RSDTtZX";
        static const char *const words[] = { "running", "sleeping", "waiting for a device",
                                             "stopped", "traced",   "ended",
                                             "ended" };
        const char *letter = strchr(letters, t->state), *word = "unknown";

        if (letter != NULL && *letter != '\0')
                word = words[letter - letters];
        snprintf(buffer, n, "%s%s%s%s%s%s%s", word, t->syscall[0] != '\0' ? " in " : "", t->syscall,
                 t->wchan[0] != '\0' ? " (" : "", t->wchan, t->wchan[0] != '\0' ? ")" : "",
                 t->gil == TASK_HAS_GIL         ? ", has the GIL"
                 : t->gil == TASK_WAITS_FOR_GIL ? ", waits for the GIL"
                                                : "");
}
