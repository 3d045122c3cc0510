/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "lib/record-check.h"

/* A whole session: 3 records of input, 2 of output, one of them of what was dropped. */
static const RecordSeen whole[] = {
        { .event = RECORD_START, .seq = 0 },
        { .event = RECORD_OUTPUT, .seq = 1, .usec = 5, .position = 0, .size = 4000 },
        { .event = RECORD_INPUT, .seq = 2, .usec = 5, .position = 0, .size = 7 },
        { .event = RECORD_WATCH, .seq = 3, .usec = 9 },
        { .event = RECORD_INPUT, .seq = 4, .usec = 10, .position = 7, .size = 0 },
        { .event = RECORD_DROPPED, .seq = 5, .usec = 11, .position = 4000, .size = 11 },
        { .event = RECORD_INPUT, .seq = 6, .usec = 11, .position = 7, .size = 1 },
        { .event = RECORD_END, .seq = 7, .usec = 20, .bytes = { 8, 4011 }, .records = { 3, 2 } },
};
#define N (sizeof(whole) / sizeof(*whole))

typedef struct Found {
        char text[1024];
        RecordSum sum;
} Found;

static void on_found(const char *text, void *userdata) {
        Found *f = userdata;

        assert_true(strlen(f->text) + strlen(text) + 2 < sizeof(f->text));
        strcat(f->text, text);
        strcat(f->text, "\n");
}

static const char *check(Found *f, const RecordSeen *records, size_t n) {
        RecordSeen *copy = calloc(n + 1, sizeof(*copy));

        assert_non_null(copy);
        if (n > 0)
                memcpy(copy, records, n * sizeof(*copy));
        *f = (Found){};
        record_check(copy, n, on_found, f, &f->sum);
        free(copy);
        assert_int_equal(f->sum.n_findings > 0, *f->text != '\0');
        return f->text;
}

static void a_whole_record_is_whole_in_any_order(void **state) {
        RecordSeen backwards[N];
        Found f;

        assert_string_equal(check(&f, whole, N), "");
        assert_true(f.sum.started && f.sum.ended);
        assert_int_equal(f.sum.bytes[RECORD_OF_INPUT], 8);
        assert_int_equal(f.sum.bytes[RECORD_OF_OUTPUT], 4011);
        assert_int_equal(f.sum.records[RECORD_OF_INPUT], 3);
        for (size_t i = 0; i < N; i++)
                backwards[i] = whole[N - 1 - i];
        assert_string_equal(check(&f, backwards, N), "");
}

static void every_record_that_is_missing_shows(void **state) {
        RecordSeen without[N];
        Found f;

        for (size_t missing = 0; missing < N; missing++) {
                memcpy(without, whole, missing * sizeof(*whole));
                memcpy(without + missing, whole + missing + 1, (N - 1 - missing) * sizeof(*whole));
                assert_true(*check(&f, without, N - 1));
                assert_int_equal(f.sum.started, missing != 0);
                assert_int_equal(f.sum.ended, missing != N - 1);
        }
        assert_true(*check(&f, whole, 0));
        assert_string_equal(check(&f, whole + 3, N - 3),
                            "records 0 to 2 are missing\n"
                            "bytes 0 to 6 of the input are missing\n"
                            "bytes 0 to 3999 of the output are missing\n"
                            "of 8 bytes of input 1 are recorded\nof 3 records of input 2 are there\n"
                            "of 4011 bytes of output 11 are recorded\nof 2 records of output 1 are there\n");
}

static void every_record_that_is_there_twice_shows(void **state) {
        RecordSeen twice[N + 1];
        Found f;

        for (size_t i = 0; i < N; i++) {
                memcpy(twice, whole, sizeof(whole));
                twice[N] = whole[i];
                assert_non_null(strstr(check(&f, twice, N + 1), "more than once"));
        }
}

static void whatever_does_not_add_up_shows(void **state) {
        static const struct {
                size_t at;
                RecordSeen instead;
                const char *text;
        } cases[] = {
                { 1,
                  { .event = RECORD_OUTPUT, .seq = 1, .usec = 5, .size = 3999 },
                  "bytes 3999 to 3999 of the output" },
                { 2, { .event = RECORD_INPUT, .seq = 2, .usec = 5, .size = 8 }, "there already" },
                { 2,
                  { .event = RECORD_OUTPUT, .seq = 2, .usec = 5, .position = 4000, .size = 7 },
                  "of 8 bytes of input 1" },
                { 3, { .event = RECORD_WATCH, .seq = 3, .usec = 4 }, "older" },
                { 3, { .event = RECORD_START, .seq = 3, .usec = 9 }, "second start" },
                { 3, { .event = RECORD_END, .seq = 3, .usec = 9 }, "behind the end" },
                { 0, { .event = RECORD_WATCH, .seq = 0 }, "no start" },
                { 7,
                  { .event = RECORD_END,
                    .seq = 7,
                    .usec = 20,
                    .bytes = { 8, 4011 },
                    .records = { 3, 2 },
                    .lost = 1 },
                  "could not be written" },
        };
        RecordSeen records[N];
        Found f;

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                memcpy(records, whole, sizeof(whole));
                records[cases[i].at] = cases[i].instead;
                if (!strstr(check(&f, records, N), cases[i].text))
                        fail_msg("'%s' instead of '%s'", f.text, cases[i].text);
        }
}

static void what_is_not_recorded_is_not_missing(void **state) {
        RecordSeen records[] = {
                { .event = RECORD_START, .omitted[RECORD_OF_OUTPUT] = true },
                { .event = RECORD_INPUT, .seq = 1, .size = 5 },
                { .event = RECORD_END, .seq = 2, .bytes = { 5, 700 }, .records = { 1, 9 } },
        };
        Found f;

        assert_string_equal(check(&f, records, 3), "");
        assert_true(f.sum.omitted[RECORD_OF_OUTPUT]);
        records[1] = (RecordSeen){ .event = RECORD_OUTPUT, .seq = 1, .size = 5 };
        assert_non_null(strstr(check(&f, records, 3), "no output should be recorded"));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_whole_record_is_whole_in_any_order),
                cmocka_unit_test(every_record_that_is_missing_shows),
                cmocka_unit_test(every_record_that_is_there_twice_shows),
                cmocka_unit_test(whatever_does_not_add_up_shows),
                cmocka_unit_test(what_is_not_recorded_is_not_missing),
        };

        return cmocka_run_group_tests_name("record-check", tests, NULL, NULL);
}
