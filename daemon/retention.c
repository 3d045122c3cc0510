/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/retention.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/thread.h"
#include "lib/cleanup.h"

#define NAME_LENGTH_MAX 48U

typedef struct File {
        char name[NAME_LENGTH_MAX];
        uint64_t usec; /* when it was written last, CLOCK_REALTIME */
        uint64_t bytes;
} File;

typedef struct Files {
        File *files; /* owned */
        size_t n, allocated;
        uint64_t bytes;
} Files;

void retention_hold(int fd) {
        (void)flock(fd, LOCK_SH | LOCK_NB);
}

static uint64_t usec_of(const struct timespec *ts) {
        return (uint64_t)ts->tv_sec * 1000000U + (uint64_t)ts->tv_nsec / 1000U;
}

/* What recorder-file.c makes, but for events.jsonl, which is always in use. */
static bool is_ours(const char *name) {
        return strlen(name) < NAME_LENGTH_MAX &&
               (fnmatch("[0-9a-f]*.cast", name, 0) == 0 || fnmatch("events-[0-9]*.jsonl", name, 0) == 0);
}

static int files_add(Files *all, int folder_fd, const char *name) {
        struct stat st;
        File *grown;

        if (!is_ours(name) || fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
                return 0;
        if (all->n == all->allocated) {
                grown = reallocarray(all->files, all->allocated * 2 + 64, sizeof(*grown));
                if (!grown)
                        return -ENOMEM;
                all->files = grown;
                all->allocated = all->allocated * 2 + 64;
        }
        grown = &all->files[all->n++];
        *grown = (File){ .usec = usec_of(&st.st_mtim), .bytes = (uint64_t)st.st_size };
        strcpy(grown->name, name);
        all->bytes += grown->bytes;
        return 0;
}

static int files_read(Files *all, int folder_fd) {
        int r = 0, fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;

        if (!dir) {
                r = -errno;
                (void)fd_close(fd);
                return r;
        }
        while (r == 0 && (entry = readdir(dir)))
                r = files_add(all, folder_fd, entry->d_name);
        (void)closedir(dir);
        return r;
}

static int compare(const void *a, const void *b) {
        const File *x = a, *y = b;

        return (x->usec > y->usec) - (x->usec < y->usec);
}

/* False when it is in use. */
static bool file_remove(int folder_fd, const File *file) {
        _cleanup_fd_ int fd = openat(folder_fd, file->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

        return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && unlinkat(folder_fd, file->name, 0) == 0;
}

int retention_apply(int folder_fd, RetentionLimits limits) {
        struct timespec ts = {};
        Files all = {};
        uint64_t now;
        int r;

        (void)clock_gettime(CLOCK_REALTIME, &ts);
        now = usec_of(&ts);
        r = files_read(&all, folder_fd);
        if (all.n > 0)
                qsort(all.files, all.n, sizeof(*all.files), compare);
        for (size_t i = 0; r == 0 && i < all.n; i++) {
                const File *file = &all.files[i];
                bool old = limits.usec > 0 && file->usec < now && now - file->usec > limits.usec,
                     much = limits.bytes > 0 && all.bytes > limits.bytes;

                if ((old || much) && file->usec < now && file_remove(folder_fd, file))
                        all.bytes -= file->bytes;
        }
        free(all.files);
        return r;
}

/* The thread's own. */
typedef struct Job {
        int folder_fd; /* owned */
        RetentionLimits limits;
} Job;

static void *work(void *userdata) {
        Job *job = userdata;

        (void)retention_apply(job->folder_fd, job->limits);
        (void)fd_close(job->folder_fd);
        free(job);
        return NULL;
}

void retention_apply_later(int folder_fd, RetentionLimits limits) {
        Job *job = calloc(1, sizeof(*job));

        if (!job)
                return;
        *job = (Job){ .folder_fd = fcntl(folder_fd, F_DUPFD_CLOEXEC, 0), .limits = limits };
        if (job->folder_fd < 0 || thread_start(work, job, 0) < 0) {
                (void)fd_close(job->folder_fd);
                free(job);
        }
}
