/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Is a session's record complete? Pure: the reader says what it found, in any order, and hears what is
 * missing (docs/RECORD.md, "Nothing is missing").
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/record.h"

typedef enum RecordDirection {
        RECORD_OF_INPUT,
        RECORD_OF_OUTPUT, /* what was dropped, too */
        _RECORD_DIRECTION_MAX,
} RecordDirection;

/* What counts of one record. */
typedef struct RecordSeen {
        RecordEvent event;
        uint64_t seq, usec;
        uint64_t position, size;             /* INPUT, OUTPUT, DROPPED */
        bool omitted[_RECORD_DIRECTION_MAX]; /* START: directions that are not recorded */
        uint64_t bytes[_RECORD_DIRECTION_MAX], records[_RECORD_DIRECTION_MAX], lost; /* END */
} RecordSeen;

/* What there is, complete or not. */
typedef struct RecordSum {
        bool started, ended;
        bool omitted[_RECORD_DIRECTION_MAX];
        uint64_t bytes[_RECORD_DIRECTION_MAX], records[_RECORD_DIRECTION_MAX];
        uint64_t n_findings;
} RecordSum;

/* Puts @seen into the order of the sequence and calls @found, with a line for people, for each thing that
 * is wrong. Nothing is if ret->n_findings is 0. */
void record_check(RecordSeen *seen, size_t n, void (*found)(const char *text, void *userdata),
                  void *userdata, RecordSum *ret);
