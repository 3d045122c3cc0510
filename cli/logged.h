/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A recorded session, read whole: from the journal, or from a file that manholed wrote. docs/RECORD.md has
 * the format. The functions say on stderr what went wrong and return an ExitStatus.
 */

#include "lib/record-check.h"

typedef enum LoggedKind {
        LOGGED_OTHER, /* of interest to programs */
        LOGGED_SHOWN,
        LOGGED_TYPED,
} LoggedKind;

typedef struct LoggedRecord {
        RecordSeen seen;
        LoggedKind kind;
        char *data; /* owned; NULL but for what was shown and typed */
} LoggedRecord;

typedef struct Logged {
        LoggedRecord *records; /* owned */
        size_t n, allocated;
        uint64_t since;             /* CLOCK_REALTIME of the start, µs; 0: not known */
        char *user, *comm, *reason; /* owned; may be NULL. reason: of the end */
        uint64_t pid;               /* of the target */
} Logged;

void logged_done(Logged *l);

/* The record of this session in the journal, or in the journal's files in @directory (may be NULL). Of what
 * any user could have written nothing is believed. */
int logged_from_journal(Logged *l, const char *session, const char *directory);

/* A file of --record=file:DIR. */
int logged_from_cast(Logged *l, const char *path);

/* For those two: one more record, by its fields; @get gives the value of one, which is valid until its next
 * call, or NULL. False if it is none of ours. */
typedef const char *(*LoggedGet)(const char *name, size_t *ret_n, void *userdata);
bool logged_add(Logged *l, LoggedGet get, void *userdata);
LoggedRecord *logged_append(Logged *l);
LoggedKind logged_kind(RecordEvent event, const char *frame);
