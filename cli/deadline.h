/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* A moment of CLOCK_MONOTONIC after which waiting ends. */

#include <stdint.h>
#include <time.h>

#define USEC_PER_SEC ((uint64_t)1000000)
#define USEC_PER_MSEC ((uint64_t)1000)
#define NSEC_PER_USEC 1000

#define DEADLINE_NEVER UINT64_MAX

static inline uint64_t deadline_now(void) {
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / NSEC_PER_USEC;
}

static inline uint64_t deadline_in(uint64_t usec) {
        uint64_t at;

        return __builtin_add_overflow(deadline_now(), usec, &at) ? DEADLINE_NEVER : at;
}

/* What is left, for ppoll(); NULL when there is no deadline. */
static inline struct timespec *deadline_left(uint64_t deadline, struct timespec *ts) {
        uint64_t now = deadline_now(), left = deadline > now ? deadline - now : 0;

        if (deadline == DEADLINE_NEVER)
                return NULL;
        *ts = (struct timespec){
                .tv_sec = (time_t)(left / USEC_PER_SEC),
                .tv_nsec = (long)(left % USEC_PER_SEC) * NSEC_PER_USEC,
        };
        return ts;
}
