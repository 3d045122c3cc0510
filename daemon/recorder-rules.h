/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* What of a session is recorded, how much, and what happens when it cannot be: as the administrator
 * says. */

#include <stdbool.h>
#include <stdint.h>

#include "daemon/retention.h"

typedef enum RecorderMode {
        RECORDER_REQUIRED,    /* no unrecorded byte */
        RECORDER_BEST_EFFORT, /* what cannot be recorded is counted, and goes through */
        RECORDER_OFF,         /* nothing of sessions; refusals are recorded all the same */
} RecorderMode;

typedef struct RecorderRules {
        RecorderMode mode;
        bool omit_input, omit_output;
        /* 0: no limit. Each record counts as its data and a constant (recorder.c). */
        uint64_t session_bytes_max, user_day_bytes_max;
        RetentionLimits retention; /* of files */
} RecorderRules;
