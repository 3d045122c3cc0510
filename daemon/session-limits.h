/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* How long a session may last, and how long nothing may be typed in it. */

#include <stdint.h>

typedef struct Session Session;

/* What the administrator says; 0 is no limit, and no lingering. */
typedef struct SessionLimits {
        uint64_t idle_usec, max_usec;
        uint64_t linger_usec; /* how long a session waits for a client that is lost */
} SessionLimits;

/* Of a session that relays: ends it if its time is up, else looks again when it may be. To be called
 * when the relay begins, and when the limits have changed. */
void session_limits_check(Session *s);
