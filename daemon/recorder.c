/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/recorder.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/log.h"

uint64_t recorder_clock(void) {
        struct timespec ts = {};

        (void)clock_gettime(CLOCK_BOOTTIME, &ts);
        return (uint64_t)ts.tv_sec * 1000000U + (uint64_t)ts.tv_nsec / 1000U;
}

void recorder_init(Recorder *r, const RecorderVTable *vtable, const char *destination) {
        *r = (Recorder){ .vtable = vtable, .destination = destination };
        TAILQ_INIT(&r->sessions);
        allowance_init(&r->allowance);
}

void recorder_done(Recorder *r) {
        allowance_done(&r->allowance);
        free(r->description);
}

void recorder_free(Recorder *r) {
        if (!r)
                return;
        assert(TAILQ_EMPTY(&r->sessions));
        r->vtable->free(r);
}

/* ----------------------------------------------------------------- rules */

static const char *rules_what(const RecorderRules *rules) {
        if (rules->omit_input)
                return rules->omit_output ? "" : "output";
        return rules->omit_output ? "input" : "input output";
}

static bool is_nowhere(const Recorder *r) {
        return strcmp(r->destination, "none") == 0;
}

int recorder_set_rules(Recorder *r, const RecorderRules *rules) {
        const char *omits = "";
        char *description;
        int n;

        if (rules->omit_input || rules->omit_output)
                omits = !rules->omit_input    ? ", input only"
                        : !rules->omit_output ? ", output only"
                                              : ", neither input nor output";
        if (is_nowhere(r) || rules->mode == RECORDER_OFF)
                n = asprintf(&description, "none");
        else
                n = asprintf(&description, "%s%s%s", r->destination, omits,
                             rules->mode == RECORDER_BEST_EFFORT ? ", best effort" : "");
        if (n < 0)
                return -ENOMEM;
        free(r->description);
        r->description = description;
        r->rules = *rules;
        if (r->vtable->ruled)
                r->vtable->ruled(r);
        return 0;
}

/* Those of a direction that is not recorded are not. */
static bool session_omits(const RecorderSession *session, RecordEvent event) {
        const RecorderRules *rules = &session->rules;

        return rules->mode == RECORDER_OFF || (event == RECORD_INPUT && rules->omit_input) ||
               ((event == RECORD_OUTPUT || event == RECORD_DROPPED) && rules->omit_output);
}

/* --------------------------------------------------------- how much may be */

/* Nearly what a record takes in the journal: there are some 20 fields beside the data. */
#define RECORD_OVERHEAD 1024U

static uint64_t record_cost(const Record *record) {
        return RECORD_OVERHEAD + record->n_data;
}

/* The last record may go beyond a limit: what is at it stays there, however small the next one is. */
static bool user_has_enough(Recorder *r, uid_t uid) {
        uint64_t max = r->rules.user_day_bytes_max;

        if (max == 0 || is_nowhere(r) || allowance_used(&r->allowance, uid, recorder_clock()) < max)
                return false;
        if (allowance_tell(&r->allowance, uid))
                log_warning("As much is recorded of uid %u today as may be (RecordBytesPerUserDay=).",
                            (unsigned)uid);
        return true;
}

/* 0 or -EDQUOT. What others do to a session is theirs. */
static int session_may_use(RecorderSession *session, const Record *record) {
        uint64_t max = session->rules.session_bytes_max;

        if (is_nowhere(session->recorder))
                return 0;
        if (session->refusal)
                return -EDQUOT;
        if (record->actor)
                return user_has_enough(session->recorder, record->actor->uid) ? -EDQUOT : 0;
        if (max > 0 && session->used >= max)
                session->refusal = "as much of it is recorded as may be";
        else if (user_has_enough(session->recorder, session->parties.client_uid))
                session->refusal = "as much of this user is recorded today as may be";
        return session->refusal ? -EDQUOT : 0;
}

static void session_use(RecorderSession *session, const Record *record) {
        uint64_t cost = record_cost(record);
        uid_t uid = record->actor ? record->actor->uid : session->parties.client_uid;

        if (!record->actor)
                session->used += cost;
        /* Whom there is no memory for is let off. */
        (void)allowance_use(&session->recorder->allowance, uid, cost, recorder_clock());
}

/* ------------------------------------------------------ how it keeps up */

RecorderState recorder_state(const Recorder *r) {
        return (RecorderState){ .written = r->n_written,
                                .lost = r->n_lost,
                                .queued_bytes = r->queued_bytes,
                                .lag_usec = r->full_since ? recorder_clock() - r->full_since : 0 };
}

RecorderStore recorder_store(Recorder *r) {
        RecorderStore store = {};

        if (r->vtable->store)
                r->vtable->store(r, &store);
        return store;
}

void recorder_found_room(Recorder *r, bool found) {
        if (found)
                r->full_since = 0;
        else if (r->full_since == 0)
                r->full_since = recorder_clock();
}

static int recorder_count(Recorder *r, int result) {
        if (result >= 0)
                r->n_written++;
        else if (result != -EAGAIN)
                r->n_lost++;
        return result;
}

static int recorder_put(Recorder *r, RecorderSession *session, const Record *record, bool keep) {
        return recorder_count(r, r->vtable->write(r, session, record, keep));
}

/* -------------------------------------------------------------- sessions */

static void session_fill(RecorderSession *session, Record *record) {
        record->parties = &session->parties;
        record->seq = session->seq;
        record->usec = recorder_clock() - session->started;
}

/* A record is about to be written; the slate shall say so when it is. */
static void session_prepare(RecorderSession *session) {
        if (!session->slate)
                return;
        session->seq++;
        slate_prepare(session->slate);
        session->seq--;
}

static void session_count(RecorderSession *session) {
        session->seq++;
        if (session->slate)
                slate_settle(session->slate);
}

/* A record that the session goes on without: its number is missing. */
static void session_lose(RecorderSession *session, const Record *record, int error) {
        if (session->n_lost == 0)
                log_warning("Session %s: records are lost, beginning with one of its event '%s': %s",
                            session->parties.session, record_event_name(record->event), strerror(-error));
        session->n_lost++;
        session->seq++;
        if (session->slate)
                slate_commit(session->slate);
}

static int session_start(RecorderSession *session, const char *reason) {
        static const char *const modes[] = {
                [RECORDER_REQUIRED] = "required", [RECORDER_BEST_EFFORT] = "best-effort"
        };
        Recorder *r = session->recorder;
        Record record = { .event = RECORD_START,
                          .reason = reason,
                          .records = rules_what(&session->rules),
                          .recording = modes[session->rules.mode] };
        int k = session_may_use(session, &record);

        if (k < 0)
                return k;
        session_fill(session, &record);
        k = recorder_count(r, r->vtable->begin(r, session, &record));
        if (k >= 0) {
                session_use(session, &record);
                session->seq++;
        } else if (session->rules.mode == RECORDER_BEST_EFFORT)
                session_lose(session, &record, k);
        else
                return k;
        return session->rules.mode == RECORDER_BEST_EFFORT ? 0 : k;
}

int recorder_begin(Recorder *r, RecorderSession *session, const RecordParties *parties, const char *reason,
                   void (*ready)(RecorderSession *session, int error),
                   void (*room)(RecorderSession *session)) {
        int k = 0;

        assert(!session->recorder);
        *session = (RecorderSession){ .recorder = r,
                                      .parties = *parties,
                                      .started = recorder_clock(),
                                      .rules = r->rules,
                                      .ready = ready,
                                      .room = room };
        if (session->rules.mode != RECORDER_OFF)
                k = session_start(session, reason);
        if (k < 0) {
                *session = (RecorderSession){};
                return k;
        }
        session->starting = k == RECORDER_E_PENDING;
        TAILQ_INSERT_TAIL(&r->sessions, session, link);
        return k;
}

int recorder_write(RecorderSession *session, Record record) {
        bool best_effort = session->rules.mode == RECORDER_BEST_EFFORT;
        int r;

        if (session_omits(session, record.event))
                return 0;
        r = session_may_use(session, &record);
        if (r < 0)
                return r;
        session_fill(session, &record);
        session_prepare(session);
        r = recorder_put(session->recorder, session, &record, best_effort);
        if (r < 0 && best_effort) {
                session_lose(session, &record, r);
                return 0;
        }
        if (r < 0)
                return r;
        session_use(session, &record);
        session_count(session);
        return 0;
}

void recorder_keep(RecorderSession *session, Record record) {
        int r;

        if (session_omits(session, record.event))
                return;
        session_fill(session, &record);
        session_prepare(session);
        r = recorder_put(session->recorder, session, &record, true);
        if (r == 0)
                session_count(session);
        else
                log_error("Session %s: the record of its event '%s' is lost: %s", session->parties.session,
                          record_event_name(record.event), strerror(-r));
}

void recorder_end(RecorderSession *session, Record record) {
        Recorder *recorder = session->recorder;
        int r = 0;

        if (!recorder)
                return;
        if (!session_omits(session, record.event)) {
                session_fill(session, &record);
                record.lost = session->n_lost;
                session_prepare(session);
                r = recorder_put(recorder, session, &record, true);
                if (r == 0)
                        session_count(session);
                recorder->vtable->end(recorder, session);
        }
        if (r < 0)
                log_error("Session %s: its end cannot be recorded: %s", session->parties.session,
                          strerror(-r));
        TAILQ_REMOVE(&recorder->sessions, session, link);
        session->recorder = NULL;
}

int recorder_resume(Recorder *r, RecorderSession *session) {
        int k = 0;

        session->recorder = r;
        if (session->rules.mode != RECORDER_OFF && r->vtable->resume)
                k = r->vtable->resume(r, session);
        if (k < 0) {
                session->recorder = NULL;
                return k;
        }
        TAILQ_INSERT_TAIL(&r->sessions, session, link);
        return 0;
}

void recorder_suspend(RecorderSession *session) {
        Recorder *recorder = session->recorder;

        if (session->rules.mode != RECORDER_OFF)
                recorder->vtable->end(recorder, session);
        TAILQ_REMOVE(&recorder->sessions, session, link);
        session->recorder = NULL;
}

/* What a user is refused is recorded as far as the user's records may go: the refusal stands. */
void recorder_post(Recorder *r, const Record *record) {
        bool charged = record->event == RECORD_DENIED;
        int k;

        if (charged && user_has_enough(r, record->parties->client_uid))
                return;
        k = recorder_put(r, NULL, record, true);
        if (k < 0)
                log_error("A record of the event '%s' is lost: %s", record_event_name(record->event),
                          strerror(-k));
        else if (charged)
                (void)allowance_use(&r->allowance, record->parties->client_uid, record_cost(record),
                                    recorder_clock());
}

void recorder_session_ready(RecorderSession *session, int error) {
        if (!session->starting)
                return;
        session->starting = false;
        session->ready(session, error);
}

void recorder_stop(Recorder *r, const char *why) {
        RecorderSession *session;

        TAILQ_FOREACH(session, &r->sessions, link)
        if (session->rules.mode == RECORDER_REQUIRED && !session->starting && !session->refusal)
                session->refusal = why;
        recorder_room(r);
}

void recorder_room(Recorder *r) {
        RecorderSession *session = TAILQ_FIRST(&r->sessions);

        /* There is seldom room for all: each time another is the first. */
        if (session) {
                TAILQ_REMOVE(&r->sessions, session, link);
                TAILQ_INSERT_TAIL(&r->sessions, session, link);
                session = TAILQ_FIRST(&r->sessions);
        }
        while (session) {
                RecorderSession *next = TAILQ_NEXT(session, link);

                if (!session->starting)
                        session->room(session);
                session = next;
        }
}
