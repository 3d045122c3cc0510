/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/descriptors.h"

#include <assert.h>
#include <fcntl.h>
#include <sys/resource.h>

#include "lib/cleanup.h"

void descriptors_raise_limit(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
}

bool descriptors_are_left(int fd, unsigned n) {
        int taken[DESCRIPTORS_FOR_CLIENTS];
        unsigned i = 0;
        bool left;

        assert(n <= DESCRIPTORS_FOR_CLIENTS);

        /* The kernel tells no number; it gives them, or does not. */
        while (i < n && (taken[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0)) >= 0)
                i++;
        left = i == n;
        while (i > 0)
                (void)fd_close(taken[--i]);
        return left;
}
