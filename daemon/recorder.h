/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Where records go: the journal, a folder of files, or nowhere. One face, one file a destination.
 *
 * A record that recorder_write() has taken is with the destination: whoever forwards a byte only
 * after that keeps the promise "no unrecorded byte". When the destination has no room the record
 * is not taken, and the caller waits. Records that no flow can wait for (the end of a session, a
 * refusal) go by recorder_keep() and recorder_post(), which keep a bounded queue.
 *
 * A destination may tell that it is lost; from then on every write is refused.
 *
 * That is what "required" means. With "best effort" a record that cannot be written is counted, and uses
 * up its sequence number, so that the record says what it lacks. And nobody can have so much recorded
 * that others' records have to make room: see recorder-rules.h.
 */

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "daemon/allowance.h"
#include "daemon/recorder-rules.h"
#include "daemon/slate.h"
#include "lib/record.h"

enum {
        _RECORDER_E_SUCCESS,
        RECORDER_E_PENDING, /* the start record is under way; `ready` will tell */
};

typedef struct Recorder Recorder;
typedef struct RecorderSession RecorderSession;
typedef struct RecorderVTable RecorderVTable;

/* One recorded session, embedded in its owner. Zeroed memory is a session that never began. */
struct RecorderSession {
        TAILQ_ENTRY(RecorderSession) link;
        Recorder *recorder; /* borrowed; NULL before begin and after end */
        RecordParties parties;
        uint64_t seq;
        uint64_t started; /* CLOCK_BOOTTIME, µs */
        bool starting;    /* `ready` has not been called yet */
        RecorderRules rules; /* as they were at the start: the record says so */
        uint64_t used;       /* of rules.session_bytes_max */
        uint64_t n_lost;
        const char *refusal; /* static, for people: why nothing more is recorded; NULL as long as it is */
        /* After RECORDER_E_PENDING: the start record is kept (0), or cannot be (negative errno).
         * Called once, from the loop. */
        void (*ready)(RecorderSession *session, int error);
        /* There may be room again, or the destination is lost. Called from the loop. */
        void (*room)(RecorderSession *session);
        void *destination; /* of the vtable; owned by it */
        uint64_t mark;     /* of the vtable: how far the last record goes */
        Slate *slate;      /* borrowed; may be NULL: its values say which records have been written */
};

/* What the destination keeps of earlier records. */
typedef struct RecorderStore {
        bool known;
        bool is_volatile;    /* gone when the machine restarts */
        uint64_t since_usec; /* CLOCK_REALTIME: how far back it reaches */
        uint64_t bytes;
} RecorderStore;

struct RecorderVTable {
        const char *name;
        /* Takes the start record: 0 when it is kept, RECORDER_E_PENDING when recorder_session_ready()
         * will tell, or negative errno. */
        int (*begin)(Recorder *recorder, RecorderSession *session, const Record *record);
        /* 0, -EAGAIN (no room; recorder_room() follows), or another errno: lost. With @keep nobody
         * can wait: what has no room is queued, within bounds. @session is NULL for records outside
         * a session. */
        int (*write)(Recorder *recorder, RecorderSession *session, const Record *record, bool keep);
        /* The session's last record has been written, or this process writes no more of them. */
        void (*end)(Recorder *recorder, RecorderSession *session);
        void (*free)(Recorder *recorder);
        /* The rules have changed; may be NULL. */
        void (*ruled)(Recorder *recorder);
        /* May be NULL. */
        void (*store)(Recorder *recorder, RecorderStore *ret);
        /* Of a session that another process has begun: what it wrote behind `mark` does not count. 0 or
         * negative errno. May be NULL. */
        int (*resume)(Recorder *recorder, RecorderSession *session);
};

/* How well the destination keeps up. */
typedef struct RecorderState {
        uint64_t written, lost; /* records so far */
        uint64_t queued_bytes;  /* of records that nobody waits for, and that there was no room for yet */
        uint64_t lag_usec;      /* for how long there has been no room */
} RecorderState;

struct Recorder {
        const RecorderVTable *vtable;
        uint64_t n_written, n_lost;
        uint64_t queued_bytes; /* of the destination */
        uint64_t full_since;   /* 0: there is room */
        TAILQ_HEAD(, RecorderSession) sessions;
        const char *destination; /* "journal", "file:…", "none" */
        char *description;       /* owned: the same with what is particular about it, for people */
        RecorderRules rules;
        Allowance allowance; /* bytes of each uid */
};

void recorder_free(Recorder *r);

/* For sessions that begin from now on. 0 or -ENOMEM. Before the first session. */
int recorder_set_rules(Recorder *r, const RecorderRules *rules);

/* Begins a recorded session; @parties is copied, its strings are borrowed until the end;
 * @reason (may be NULL) is the client's. 0 when the start record is kept, RECORDER_E_PENDING when @ready
 * will tell, -EDQUOT when the user has had enough recorded today, or another negative errno. */
int recorder_begin(Recorder *r, RecorderSession *session, const RecordParties *parties, const char *reason,
                   void (*ready)(RecorderSession *session, int error), void (*room)(RecorderSession *session));

/* Writes one record of the session; fills in who, when and the sequence number. 0, -EAGAIN, or
 * another negative errno: the session can no longer be recorded. -EDQUOT: `refusal` says why, unless the
 * record is an actor's, who has had enough recorded. */
int recorder_write(RecorderSession *session, Record record);

/* As recorder_write(), for a record that nobody can wait for: it is kept if anything can be. */
void recorder_keep(RecorderSession *session, Record record);

/* The last record, which is kept if anything can be. The session is idle afterwards. */
void recorder_end(RecorderSession *session, Record record);

/* Goes on with a session where another process has left it: all of it but `recorder`, `destination` and
 * `link` has been filled in. 0 or negative errno: it cannot be. */
int recorder_resume(Recorder *r, RecorderSession *session);

/* Another process goes on with the session. It is idle afterwards. */
void recorder_suspend(RecorderSession *session);

/* A record that belongs to no session. */
void recorder_post(Recorder *r, const Record *record);

RecorderState recorder_state(const Recorder *r);
RecorderStore recorder_store(Recorder *r);

/* For destinations. @destination is borrowed. */
void recorder_init(Recorder *r, const RecorderVTable *vtable, const char *destination);
void recorder_done(Recorder *r);
void recorder_session_ready(RecorderSession *session, int error);
void recorder_room(Recorder *r);
/* Whether a record has just found room. */
void recorder_found_room(Recorder *r, bool found);
/* What was taken was not kept: sessions that rely on it have nothing recorded any more, for this reason
 * (static), and so nothing passes. */
void recorder_stop(Recorder *r, const char *why);

int recorder_journal_new(struct event_base *loop, Recorder **ret);
int recorder_file_new(struct event_base *loop, const char *folder, Recorder **ret);
int recorder_none_new(Recorder **ret);

uint64_t recorder_clock(void); /* CLOCK_BOOTTIME in µs */
