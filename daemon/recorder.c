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

void recorder_init(Recorder *r, const RecorderVTable *vtable, const char *description) {
        *r = (Recorder){ .vtable = vtable, .description = description };
        TAILQ_INIT(&r->sessions);
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

void recorder_keep(RecorderSession *session, Record record) {
        int r;

        session_fill(session, &record);
        r = session->recorder->vtable->write(session->recorder, session, &record, true);
        if (r == 0)
                session->seq++;
        else
                log_error("Session %s: the record of its event '%s' is lost: %s", session->parties.session,
                          record_event_name(record.event), strerror(-r));
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
