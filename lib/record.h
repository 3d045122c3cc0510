/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The record format (docs/RECORD.md): what is kept of a session, and of what was refused.
 *
 * Pure. A Record is a view of borrowed values; record_fields() walks it as the named fields of the
 * journal, and every destination and reader uses these names and no others.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-id128.h>

#define RECORD_VERSION 1
/* Of MANHOLE_DATA in one record: `journalctl -o json` prints null for longer fields. */
#define RECORD_DATA_MAX 4000U
/* 64 random bits in hexadecimal. */
#define RECORD_SESSION_ID_MAX 17U

typedef enum RecordEvent {
        RECORD_START,
        RECORD_INPUT,
        RECORD_OUTPUT,
        RECORD_DROPPED,
        RECORD_END,
        RECORD_DENIED,
        RECORD_STALE,
        RECORD_WATCH,   /* somebody began to watch the session */
        RECORD_UNWATCH, /* and watches it no more */
        RECORD_LINGER,  /* the client is lost; the session waits for it */
        RECORD_RESUME,  /* and has one again */
        RECORD_RESTART, /* the broker was started anew, and the session went on */
        _RECORD_EVENT_MAX,
} RecordEvent;

/* Where a client comes from. What is not known gives no field. */
typedef struct RecordOrigin {
        uint32_t login_uid, audit_session; /* RECORD_ID_UNSET: not known, or never logged in */
        const char *tty, *comm, *command;  /* borrowed; may be NULL */
} RecordOrigin;

#define RECORD_ID_UNSET UINT32_MAX

/* Who and whom: the same in every record of a session. All strings are borrowed; those that are
 * NULL, and ids that are not set, give no field. */
typedef struct RecordParties {
        const char *session;
        uid_t client_uid; /* these three: of all events but STALE, which has no client */
        const char *client_user;
        pid_t client_pid; /* 0: it cannot be seen from our pid namespace */
        const RecordOrigin *client_origin; /* START, DENIED; may be NULL */
        pid_t target_pid;
        uid_t target_uid;
        const char *target_comm;
        const char *target_unit;
        bool target_gone; /* the process ended: name the unit, since the journal cannot find it */
} RecordParties;

/* Who does something to a session that another opened, or again to his own. */
typedef struct RecordActor {
        uid_t uid;
        const char *user;
        pid_t pid; /* 0: it cannot be seen from our pid namespace */
        const RecordOrigin *origin; /* WATCH, RESUME; may be NULL */
} RecordActor;

typedef struct Record {
        RecordEvent event;
        const RecordParties *parties;
        uint64_t seq;
        uint64_t usec;     /* CLOCK_BOOTTIME since the session's start, µs */
        uint64_t position; /* of data in its direction's stream, bytes */
        const void *data;  /* INPUT, OUTPUT, DROPPED */
        size_t n_data;     /* at most RECORD_DATA_MAX */
        const char *frame; /* kind of frame the data came in; NULL in the plain face */
        const char *reason;
        const char *recording, *records; /* START: how much the record is relied on, and what is in it */
        const char *socket;
        bool removed; /* STALE: the socket file is gone; else it was left in place */
        const RecordActor *actor;  /* WATCH, UNWATCH, RESUME */
        uint64_t missed;           /* UNWATCH, RESUME: bytes that the actor has not been shown */
        uint64_t input_bytes, output_bytes; /* END: totals */
        uint64_t input_records, output_records;
        uint64_t lost; /* END: records that could not be written, and were not waited for */
} Record;

const char *record_event_name(RecordEvent event);
sd_id128_t record_message_id(RecordEvent event);

/* One field: @data may hold any byte. Returns 0 or negative errno, which ends the walk. */
typedef int (*RecordField)(const char *name, const void *data, size_t n_data, void *userdata);

/* Calls @field for every field of @record, MESSAGE and PRIORITY included. */
int record_fields(const Record *record, RecordField field, void *userdata);
