/* SPDX-License-Identifier: BSD-2-Clause */

/* What all destinations share; the destination here is a stub. */

#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "daemon/recorder.h"
#include "lib/container.h"

typedef struct Stub {
        Recorder base;
        int verdict, begin_verdict;
        unsigned allow; /* so many are taken before the verdict counts */
        Record last; /* what it points to is not kept */
        bool last_keep;
        RecorderSession *last_session;
        unsigned n_writes, n_ends;
} Stub;

/* One session, and what it was told. */
typedef struct Owner {
        RecorderSession session;
        unsigned n_ready, n_room;
        unsigned wants, n_put; /* records, each time there is room; that were taken */
        int ready_error;
        bool end_at_room;
} Owner;

static int stub_begin(Recorder *recorder, RecorderSession *session, const Record *record) {
        Stub *s = (Stub *)recorder;

        s->last = *record;
        return s->begin_verdict;
}

static int stub_write(Recorder *recorder, RecorderSession *session, const Record *record, bool keep) {
        Stub *s = (Stub *)recorder;

        s->n_writes++;
        s->last = *record;
        s->last_keep = keep;
        s->last_session = session;
        if (s->allow > 0) {
                s->allow--;
                return 0;
        }
        return s->verdict;
}

static void stub_end(Recorder *recorder, RecorderSession *session) {
        ((Stub *)recorder)->n_ends++;
}

static void stub_free(Recorder *recorder) {
        recorder_done(recorder);
}

static void stub_init(Stub *s) {
        static const RecorderVTable vtable = { "stub", stub_begin, stub_write, stub_end, stub_free };

        *s = (Stub){};
        recorder_init(&s->base, &vtable, "stub");
}

static void on_ready(RecorderSession *session, int error) {
        Owner *o = container_of(session, Owner, session);

        o->n_ready++;
        o->ready_error = error;
}

static int put(Owner *o);

static void on_room(RecorderSession *session) {
        Owner *o = container_of(session, Owner, session);

        o->n_room++;
        for (unsigned i = 0; i < o->wants && put(o) == 0; i++)
                o->n_put++;
        if (o->end_at_room) {
                recorder_end(session, (Record){ .event = RECORD_END, .reason = "x" });
                memset(session, 0, sizeof(*session)); /* its owner may free it */
        }
}

static int begin(Stub *s, Owner *o) {
        static const RecordParties parties = { .session = "id", .client_uid = 5 };

        return recorder_begin(&s->base, &o->session, &parties, "why", on_ready, on_room);
}

static int put(Owner *o) {
        return recorder_write(&o->session, (Record){ .event = RECORD_INPUT, .data = "x", .n_data = 1 });
}

static void end(Owner *o) {
        recorder_end(&o->session, (Record){ .event = RECORD_END, .reason = "over" });
}

static void every_record_of_a_session_has_the_next_number(void **state) {
        Owner o = {};
        Stub s;

        stub_init(&s);
        assert_int_equal(begin(&s, &o), 0);
        assert_int_equal(s.last.event, RECORD_START);
        assert_int_equal(s.last.seq, 0);
        assert_string_equal(s.last.reason, "why");
        assert_ptr_equal(s.last.parties, &o.session.parties);
        for (uint64_t i = 1; i < 4; i++) {
                assert_int_equal(put(&o), 0);
                assert_int_equal(s.last.seq, i);
                assert_false(s.last_keep);
        }
        /* A refusal in its course is one of them. */
        recorder_keep(&o.session, (Record){ .event = RECORD_DENIED, .reason = "no" });
        assert_int_equal(s.last.seq, 4);
        assert_true(s.last_keep);
        assert_ptr_equal(s.last_session, &o.session);
        end(&o);
        assert_int_equal(s.last.event, RECORD_END);
        assert_int_equal(s.last.seq, 5);
        assert_true(s.last_keep);
        assert_int_equal(s.n_ends, 1);
        recorder_free(&s.base);
}

static void a_record_that_is_not_taken_uses_up_no_number(void **state) {
        Owner o = {};
        Stub s;

        stub_init(&s);
        assert_int_equal(begin(&s, &o), 0);
        s.verdict = -EAGAIN;
        assert_int_equal(put(&o), -EAGAIN);
        assert_int_equal(put(&o), -EAGAIN);
        assert_int_equal(s.last.seq, 1);
        recorder_keep(&o.session, (Record){ .event = RECORD_DENIED, .reason = "no" }); /* lost, and logged */
        s.verdict = -EIO;
        assert_int_equal(put(&o), -EIO);
        s.verdict = 0;
        assert_int_equal(put(&o), 0);
        assert_int_equal(s.last.seq, 1);
        end(&o);
        assert_int_equal(s.last.seq, 2);
        recorder_free(&s.base);
}

static void time_goes_on_from_the_start(void **state) {
        uint64_t before = recorder_clock(), at = 0;
        Owner o = {};
        Stub s;

        stub_init(&s);
        assert_int_equal(begin(&s, &o), 0);
        assert_true(o.session.started >= before);
        for (unsigned i = 0; i < 100; i++) {
                assert_int_equal(put(&o), 0);
                assert_true(s.last.usec >= at);
                at = s.last.usec;
        }
        assert_true(at <= recorder_clock() - before);
        end(&o);
        recorder_free(&s.base);
}

static void a_session_that_cannot_begin_is_idle(void **state) {
        Owner o = {};
        Stub s;

        stub_init(&s);
        s.begin_verdict = -ENOSPC;
        assert_int_equal(begin(&s, &o), -ENOSPC);
        assert_null(o.session.recorder);
        end(&o); /* nothing to end */
        assert_int_equal(s.n_writes, 0);
        recorder_room(&s.base);
        assert_int_equal(o.n_room, 0);
        s.begin_verdict = 0;
        assert_int_equal(begin(&s, &o), 0);
        end(&o);
        end(&o);
        assert_int_equal(s.n_ends, 1);
        recorder_free(&s.base);
}

static void a_start_that_is_under_way_is_told_of_once(void **state) {
        Owner o = {};
        Stub s;

        stub_init(&s);
        s.begin_verdict = RECORDER_E_PENDING;
        assert_int_equal(begin(&s, &o), RECORDER_E_PENDING);
        recorder_room(&s.base);
        assert_int_equal(o.n_room, 0); /* it does not flow yet */
        recorder_session_ready(&o.session, -ENODATA);
        recorder_session_ready(&o.session, 0);
        assert_int_equal(o.n_ready, 1);
        assert_int_equal(o.ready_error, -ENODATA);
        recorder_room(&s.base);
        assert_int_equal(o.n_room, 1);
        end(&o);
        recorder_free(&s.base);
}

static void a_session_may_end_when_it_is_told_of_room(void **state) {
        Owner o[3] = {};
        Stub s;

        stub_init(&s);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(begin(&s, &o[i]), 0);
        o[0].end_at_room = o[1].end_at_room = true;
        recorder_room(&s.base);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(o[i].n_room, 1);
        recorder_room(&s.base);
        assert_int_equal(o[0].n_room, 1);
        assert_int_equal(o[2].n_room, 2);
        end(&o[2]);
        recorder_free(&s.base);
}

static void where_there_is_room_for_few_each_has_a_turn(void **state) {
        Owner o[6] = {};
        Stub s;

        stub_init(&s);
        for (unsigned i = 0; i < 6; i++) {
                assert_int_equal(begin(&s, &o[i]), 0);
                o[i].wants = 4;
        }
        s.verdict = -EAGAIN;
        for (unsigned round = 0; round < 6; round++) {
                s.allow = 8;
                recorder_room(&s.base);
        }
        for (unsigned i = 0; i < 6; i++) {
                assert_int_equal(o[i].n_put, 8);
                end(&o[i]);
        }
        recorder_free(&s.base);
}

static void a_record_of_no_session_is_kept(void **state) {
        RecordParties parties = { .client_uid = 7 };
        Stub s;

        stub_init(&s);
        recorder_post(&s.base, &(Record){ .event = RECORD_DENIED, .parties = &parties, .reason = "no" });
        assert_null(s.last_session);
        assert_true(s.last_keep);
        assert_ptr_equal(s.last.parties, &parties);
        recorder_free(&s.base);
}

static Stub *stub_with(Stub *s, RecorderRules rules) {
        stub_init(s);
        assert_int_equal(recorder_set_rules(&s->base, &rules), 0);
        return s;
}

static int put_event(Owner *o, RecordEvent event, size_t n) {
        static const char data[RECORD_DATA_MAX];

        return recorder_write(&o->session, (Record){ .event = event, .data = data, .n_data = n });
}

static void what_is_particular_about_a_record_is_told(void **state) {
        static const struct {
                RecorderRules rules;
                const char *description;
        } cases[] = {
                { { .mode = RECORDER_REQUIRED }, "stub" },
                { { .omit_output = true }, "stub, input only" },
                { { .mode = RECORDER_BEST_EFFORT, .omit_input = true }, "stub, output only, best effort" },
                { { .omit_input = true, .omit_output = true }, "stub, neither input nor output" },
                { { .mode = RECORDER_OFF }, "none" },
        };
        Stub s;

        stub_init(&s);
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                assert_int_equal(recorder_set_rules(&s.base, &cases[i].rules), 0);
                assert_string_equal(s.base.description, cases[i].description);
        }
        recorder_free(&s.base);
}

static void a_direction_may_be_left_out(void **state) {
        Owner o = {};
        Stub s;

        (void)stub_with(&s, (RecorderRules){ .omit_output = true });
        assert_int_equal(begin(&s, &o), 0);
        assert_string_equal(s.last.records, "input");
        assert_string_equal(s.last.recording, "required");
        s.verdict = -EIO;
        assert_int_equal(put_event(&o, RECORD_OUTPUT, 5), 0);
        assert_int_equal(put_event(&o, RECORD_DROPPED, 5), 0);
        assert_int_equal(s.n_writes, 0);
        assert_int_equal(put_event(&o, RECORD_INPUT, 5), -EIO);
        s.verdict = 0;
        assert_int_equal(put_event(&o, RECORD_INPUT, 5), 0);
        assert_int_equal(s.last.seq, 1);
        end(&o);
        assert_int_equal(s.last.seq, 2);
        recorder_free(&s.base);
}

static void with_best_effort_what_is_lost_leaves_a_gap(void **state) {
        Owner o = {};
        Stub s;

        (void)stub_with(&s, (RecorderRules){ .mode = RECORDER_BEST_EFFORT });
        s.begin_verdict = RECORDER_E_PENDING;
        assert_int_equal(begin(&s, &o), 0); /* nobody waits for it */
        assert_false(o.session.starting);
        assert_string_equal(s.last.recording, "best-effort");
        assert_int_equal(put(&o), 0);
        assert_int_equal(s.last.seq, 1);
        assert_true(s.last_keep);
        s.verdict = -ENOBUFS;
        assert_int_equal(put(&o), 0);
        assert_int_equal(put(&o), 0);
        s.verdict = 0;
        assert_int_equal(put(&o), 0);
        assert_int_equal(s.last.seq, 4);
        end(&o);
        assert_int_equal(s.last.seq, 5);
        assert_true(s.last.lost == 2);
        recorder_free(&s.base);
}

static void with_best_effort_even_a_start_may_be_lost(void **state) {
        Owner o = {};
        Stub s;

        (void)stub_with(&s, (RecorderRules){ .mode = RECORDER_BEST_EFFORT });
        s.begin_verdict = -ENOSPC;
        assert_int_equal(begin(&s, &o), 0);
        assert_int_equal(put(&o), 0);
        assert_int_equal(s.last.seq, 1);
        end(&o);
        assert_true(s.last.lost == 1);
        recorder_free(&s.base);
}

static void where_nothing_is_recorded_refusals_are(void **state) {
        RecordParties parties = { .client_uid = 7 };
        Owner o = {};
        Stub s;

        (void)stub_with(&s, (RecorderRules){ .mode = RECORDER_OFF });
        s.verdict = s.begin_verdict = -EIO;
        assert_int_equal(begin(&s, &o), 0);
        assert_int_equal(put(&o), 0);
        recorder_keep(&o.session, (Record){ .event = RECORD_LINGER });
        end(&o);
        assert_int_equal(s.n_writes + s.n_ends, 0);
        s.verdict = 0;
        recorder_post(&s.base, &(Record){ .event = RECORD_DENIED, .parties = &parties, .reason = "no" });
        assert_int_equal(s.n_writes, 1);
        recorder_free(&s.base);
}

static void a_session_s_record_has_an_end(void **state) {
        Owner o = {};
        unsigned n = 0;
        Stub s;

        (void)stub_with(&s, (RecorderRules){ .session_bytes_max = 100000 });
        assert_int_equal(begin(&s, &o), 0);
        while (put_event(&o, RECORD_OUTPUT, 4000) == 0)
                n++;
        assert_int_equal(n, 20); /* and the start: 1,024 bytes and the data each */
        assert_int_equal(put_event(&o, RECORD_OUTPUT, 4000), -EDQUOT);
        assert_non_null(o.session.refusal);
        recorder_keep(&o.session, (Record){ .event = RECORD_UNWATCH });
        end(&o); /* nevertheless */
        assert_int_equal(s.last.seq, n + 2);
        recorder_free(&s.base);
}

static void what_is_not_kept_has_no_end(void **state) {
        Owner o = {};
        Stub s;

        (void)stub_with(&s, (RecorderRules){ .session_bytes_max = 20000, .user_day_bytes_max = 20000 });
        s.base.destination = "none";
        assert_int_equal(begin(&s, &o), 0);
        for (unsigned i = 0; i < 20; i++)
                assert_int_equal(put_event(&o, RECORD_OUTPUT, 4000), 0);
        end(&o);
        recorder_free(&s.base);
}

static void nobody_s_records_make_room_for_a_user_s(void **state) {
        RecordParties parties = { .client_uid = 5 }, others = { .client_uid = 6 };
        RecordActor actor = { .uid = 5, .user = "a" };
        Owner o[3] = {};
        Stub s;

        (void)stub_with(&s, (RecorderRules){ .user_day_bytes_max = 20000 });
        assert_int_equal(begin(&s, &o[0]), 0);
        assert_int_equal(begin(&s, &o[1]), 0);
        while (put_event(&o[0], RECORD_OUTPUT, 4000) == 0)
                ;
        assert_int_equal(put_event(&o[1], RECORD_INPUT, 0), -EDQUOT);
        assert_non_null(o[1].session.refusal);
        assert_int_equal(begin(&s, &o[2]), -EDQUOT);
        /* Being refused is no way around it; others are still recorded. */
        s.n_writes = 0;
        recorder_post(&s.base, &(Record){ .event = RECORD_DENIED, .parties = &parties, .reason = "no" });
        assert_int_equal(s.n_writes, 0);
        recorder_post(&s.base, &(Record){ .event = RECORD_DENIED, .parties = &others, .reason = "no" });
        recorder_post(&s.base, &(Record){ .event = RECORD_STALE, .parties = &parties, .socket = "/x" });
        assert_int_equal(s.n_writes, 2);
        end(&o[0]);
        end(&o[1]);

        /* What one does to another's session is his own, and not its end. */
        parties.client_uid = 9;
        assert_int_equal(recorder_begin(&s.base, &o[2].session, &parties, NULL, on_ready, on_room), 0);
        assert_int_equal(recorder_write(&o[2].session, (Record){ .event = RECORD_WATCH, .actor = &actor }), -EDQUOT);
        assert_null(o[2].session.refusal);
        assert_int_equal(put(&o[2]), 0);
        end(&o[2]);
        recorder_free(&s.base);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_record_of_a_session_has_the_next_number),
                cmocka_unit_test(a_record_that_is_not_taken_uses_up_no_number),
                cmocka_unit_test(time_goes_on_from_the_start),
                cmocka_unit_test(a_session_that_cannot_begin_is_idle),
                cmocka_unit_test(a_start_that_is_under_way_is_told_of_once),
                cmocka_unit_test(a_session_may_end_when_it_is_told_of_room),
                cmocka_unit_test(where_there_is_room_for_few_each_has_a_turn),
                cmocka_unit_test(a_record_of_no_session_is_kept),
                cmocka_unit_test(what_is_particular_about_a_record_is_told),
                cmocka_unit_test(a_direction_may_be_left_out),
                cmocka_unit_test(with_best_effort_what_is_lost_leaves_a_gap),
                cmocka_unit_test(with_best_effort_even_a_start_may_be_lost),
                cmocka_unit_test(where_nothing_is_recorded_refusals_are),
                cmocka_unit_test(a_session_s_record_has_an_end),
                cmocka_unit_test(what_is_not_kept_has_no_end),
                cmocka_unit_test(nobody_s_records_make_room_for_a_user_s),
        };

        return cmocka_run_group_tests_name("recorder", tests, NULL, NULL);
}
