/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Records as the lines of files: an asciicast v2 for a session, which players understand, and JSON objects
 * (docs/RECORD.md, "In files"). Pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "lib/record.h"

/* Lines that grow. Zeroed memory is empty. */
typedef struct CastText {
        char *bytes; /* owned */
        size_t n, allocated;
        bool failed; /* without memory; says so at the end */
} CastText;

void cast_text_done(CastText *t);

/* Each replaces @t by whole lines. 0 or -ENOMEM. */
int cast_header(CastText *t, const Record *start, time_t now);
int cast_event(CastText *t, const Record *record); /* of a session */
int cast_fields(CastText *t, const Record *record, const struct timespec *now);
