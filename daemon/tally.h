/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* What has happened since the start, in numbers that only grow. Pure; what is there now is counted where
 * it is. */

#include <stddef.h>
#include <stdint.h>

#define TALLY_ERRORS 13U /* those of org.manholed, and all others as one */

typedef struct Tally {
        uint64_t sessions;                  /* that have ended */
        uint64_t input_bytes, output_bytes; /* of these */
        uint64_t stale_removed;
        uint64_t errors[TALLY_ERRORS]; /* given as answers */
} Tally;

/* An error has been answered; @error is its full name. */
void tally_error(Tally *t, const char *error);

/* What errors[i] counts: "NotAuthorized", …, "other". */
const char *tally_error_name(size_t i);
