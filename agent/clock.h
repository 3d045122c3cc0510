/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The time that only goes forward.
 */

#include <stdint.h>
#include <time.h>

#define CLOCK_NSEC_PER_MSEC INT64_C(1000000)
#define CLOCK_NSEC_PER_SEC INT64_C(1000000000)

/* Nanoseconds of CLOCK_MONOTONIC. Signal safe. */
static inline int64_t clock_now_ns(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * CLOCK_NSEC_PER_SEC + now.tv_nsec;
}
