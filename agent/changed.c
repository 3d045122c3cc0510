/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/changed.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC 1000000000LL

/* Of CLOCK_REALTIME; 0: not asked yet, UNKNOWN: nothing has changed then. */
#define UNKNOWN (-1LL)
static atomic_llong started_ns;

static long long clock_ns(clockid_t clock) {
        struct timespec now;

        clock_gettime(clock, &now);
        return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

/* In clock ticks since boot: field 22 in proc(5), the 20th after the name. -1 without /proc. */
static long long read_start(void) {
        char buffer[1024], *p;
        size_t n;
        FILE *file;

        file = fopen("/proc/self/stat", "re");
        if (file == NULL)
                return -1;
        n = fread(buffer, 1, sizeof(buffer) - 1, file);
        fclose(file);
        buffer[n] = '\0';
        p = strrchr(buffer, ')');
        for (int i = 0; p != NULL && i < 20; i++)
                p = strchr(p + 1, ' ');
        return p != NULL ? strtoll(p, NULL, 10) : -1;
}

void changed_setup(void) {
        long long ticks, tick_ns = NSEC_PER_SEC / sysconf(_SC_CLK_TCK);

        if (atomic_load(&started_ns) != 0)
                return;
        ticks = read_start();
        /* The end of that tick: what was written just before must not count. */
        atomic_store(&started_ns, ticks < 0 ? UNKNOWN
                                            : (ticks + 1) * tick_ns + clock_ns(CLOCK_REALTIME) -
                                                      clock_ns(CLOCK_BOOTTIME));
}

bool changed_look(int fd, const char *path, struct statx *ret) {
        return statx(fd, path, AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS | STATX_BTIME, ret) ==
               0;
}

static bool is_later(const struct statx_timestamp *t) {
        return t->tv_sec * NSEC_PER_SEC + t->tv_nsec > atomic_load(&started_ns);
}

bool changed_since(const struct statx *file) {
        changed_setup();
        if (atomic_load(&started_ns) == UNKNOWN)
                return false;
        return is_later(&file->stx_mtime) ||
               ((file->stx_mask & STATX_BTIME) != 0 && is_later(&file->stx_btime));
}
