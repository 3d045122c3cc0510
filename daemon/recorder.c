/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/recorder.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/log.h"

uint64_t recorder_clock(void) {
        struct timespec ts = {};

        (void)clock_gettime(CLOCK_BOOTTIME, &ts);
        return (uint64_t)ts.tv_sec * 1000000U + (uint64_t)ts.tv_nsec / 1000U;
}

/* --------------------------------------------------------------- nowhere */

static int none_begin(Recorder *recorder, RecorderSession *session, const Record *record) {
        return 0;
}

static int none_write(Recorder *recorder, RecorderSession *session, const Record *record, bool keep) {
        return 0;
}

static void none_end(Recorder *recorder, RecorderSession *session) {
}

static void none_free(Recorder *recorder) {
        free(recorder);
}

static int none_new(struct event_base *loop, Recorder **ret) {
        static const RecorderVTable vtable = { "none", none_begin, none_write, none_end, none_free };
        Recorder *r = calloc(1, sizeof(*r));

        if (!r)
                return -ENOMEM;
        r->vtable = &vtable;
        r->description = vtable.name;
        *ret = r;
        return 0;
}

/* ------------------------------------------------------------------ face */

int recorder_new(struct event_base *loop, const char *where, Recorder **ret) {
        Recorder *recorder;
        int r;

        if (strcmp(where, "journal") == 0)
                r = recorder_journal_new(loop, &recorder);
        else if (strncmp(where, "file:", 5) == 0 && where[5] == '/')
                r = recorder_file_new(loop, where + 5, &recorder);
        else if (strcmp(where, "none") == 0)
                r = none_new(loop, &recorder);
        else
                r = -EINVAL;
        if (r < 0)
                return r;
        recorder->loop = loop;
        TAILQ_INIT(&recorder->sessions);
        *ret = recorder;
        return 0;
}

void recorder_free(Recorder *r) {
        if (!r)
                return;
        assert(TAILQ_EMPTY(&r->sessions));
        r->vtable->free(r);
}

static void session_fill(RecorderSession *session, Record *record) {
        record->parties = &session->parties;
        record->seq = session->seq;
        record->usec = recorder_clock() - session->started;
}

int recorder_begin(Recorder *r, RecorderSession *session, const RecordParties *parties, const char *reason,
                   void (*ready)(RecorderSession *session, int error),
                   void (*room)(RecorderSession *session)) {
        Record record = { .event = RECORD_START, .reason = reason };
        int k;

        assert(!session->recorder);
        *session = (RecorderSession){ .recorder = r, .parties = *parties, .started = recorder_clock(),
                                      .ready = ready, .room = room };
        session_fill(session, &record);
        k = r->vtable->begin(r, session, &record);
        if (k < 0) {
                *session = (RecorderSession){};
                return k;
        }
        session->starting = k == RECORDER_E_PENDING;
        session->seq++;
        TAILQ_INSERT_TAIL(&r->sessions, session, link);
        return k;
}

int recorder_write(RecorderSession *session, Record record) {
        int r;

        session_fill(session, &record);
        r = session->recorder->vtable->write(session->recorder, session, &record, false);
        if (r == 0)
                session->seq++;
        return r;
}

void recorder_end(RecorderSession *session, Record record) {
        Recorder *recorder = session->recorder;
        int r;

        if (!recorder)
                return;
        session_fill(session, &record);
        r = recorder->vtable->write(recorder, session, &record, true);
        if (r < 0)
                log_error("Session %s: its end cannot be recorded: %s", session->parties.session, strerror(-r));
        recorder->vtable->end(recorder, session);
        TAILQ_REMOVE(&recorder->sessions, session, link);
        session->recorder = NULL;
}

void recorder_post(Recorder *r, const Record *record) {
        int k = r->vtable->write(r, NULL, record, true);

        if (k < 0)
                log_error("A record of the event '%s' is lost: %s", record_event_name(record->event), strerror(-k));
}

void recorder_session_ready(RecorderSession *session, int error) {
        if (!session->starting)
                return;
        session->starting = false;
        session->ready(session, error);
}

void recorder_room(Recorder *r) {
        RecorderSession *session = TAILQ_FIRST(&r->sessions);

        while (session) {
                RecorderSession *next = TAILQ_NEXT(session, link);

                if (!session->starting)
                        session->room(session);
                session = next;
        }
}
