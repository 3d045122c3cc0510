/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Looks into the journal: is a record that was sent there, and what does the journal keep? It accepts and
 * drops records (rate limits, Storage=none, MaxLevelStore=, a full disk) without saying so.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct JournalReader JournalReader;

JournalReader *journal_reader_new(void); /* NULL without memory */
void journal_reader_free(JournalReader *r);

/* The record of this number of this session, written by this process. */
bool journal_reader_has(JournalReader *r, const char *session, uint64_t seq);

/* What the journal is worth as a record. */
typedef struct JournalState {
        bool readable;
        bool is_volatile;    /* what it is sent now it keeps in memory */
        uint64_t since_usec; /* CLOCK_REALTIME of its oldest entry */
        uint64_t bytes;      /* on disk and in memory */
} JournalState;

void journal_reader_state(JournalReader *r, JournalState *ret);
