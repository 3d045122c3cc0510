/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Threads that a module has left behind: no event tells of a detached one's end. */

#include <dirent.h>
#include <poll.h>

static inline unsigned threads_count(void) {
        DIR *dir = opendir("/proc/self/task");
        struct dirent *entry;
        unsigned n = 0;

        assert_non_null(dir);
        while ((entry = readdir(dir)))
                n += entry->d_name[0] != '.';
        (void)closedir(dir);
        return n;
}

/* 0 when only the caller's is left, -1 when others are after 30 seconds. */
static inline int threads_wait_for_last(void) {
        for (unsigned i = 0; threads_count() > 1; i++) {
                if (i == 3000)
                        return -1;
                (void)poll(NULL, 0, 10);
        }
        return 0;
}
