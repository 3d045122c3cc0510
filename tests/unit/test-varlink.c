/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/varlink.h"

/* Adds bytes as they would be read, in as many turns as the reader's room needs. */
static int feed(VarlinkReader *r, const char *bytes, size_t n) {
        while (n > 0) {
                size_t room;
                char *p;
                int k = varlink_reader_room(r, &p, &room);

                if (k != 0)
                        return k;
                assert_true(room > 0);
                room = room < n ? room : n;
                memcpy(p, bytes, room);
                varlink_reader_added(r, room);
                bytes += room;
                n -= room;
        }
        return 0;
}

static json_int_t take_number(VarlinkReader *r) {
        json_t *message;
        json_int_t n;

        assert_int_equal(varlink_reader_next(r, &message), 0);
        if (!message)
                return -1;
        n = json_integer_value(json_object_get(message, "n"));
        json_decref(message);
        return n;
}

static void assert_invalid(const char *text, size_t n) {
        VarlinkReader r;
        json_t *message;

        varlink_reader_init(&r, 65536);
        assert_int_equal(feed(&r, text, n), 0);
        assert_int_equal(varlink_reader_next(&r, &message), VARLINK_E_INVALID);
        assert_null(message);
        /* It is dropped, and what follows is found. */
        assert_int_equal(feed(&r, "{\"n\":5}", 8), 0);
        assert_int_equal(take_number(&r), 5);
        varlink_reader_done(&r);
}

#define assert_is_invalid(text) assert_invalid(text, sizeof(text))

static void messages_are_found_wherever_the_stream_is_cut(void **state) {
        static const char stream[] = "{\"n\":1}\0{\"n\":2}\0{ \"n\" : 3 , \"x\" : \"\xe7\x8c\xab\" }\n\0{\"n\":4}";
        size_t n = sizeof(stream); /* with the last NUL */

        for (size_t a = 0; a <= n; a++)
                for (size_t b = a; b <= n; b++) {
                        const size_t cuts[] = { 0, a, b, n };
                        json_int_t found = 0, one;
                        VarlinkReader r;

                        varlink_reader_init(&r, 256);
                        for (unsigned i = 0; i < 3; i++) {
                                assert_int_equal(feed(&r, stream + cuts[i], cuts[i + 1] - cuts[i]), 0);
                                while ((one = take_number(&r)) >= 0)
                                        assert_int_equal(one, ++found);
                        }
                        assert_int_equal(found, 4);
                        varlink_reader_done(&r);
                }
}

static void an_empty_reader_has_no_message_and_no_rest(void **state) {
        VarlinkReader r;
        size_t n = 7;

        varlink_reader_init(&r, 64);
        assert_int_equal(take_number(&r), -1);
        (void)varlink_reader_rest(&r, &n);
        assert_int_equal(n, 0);
        varlink_reader_done(&r);
        varlink_reader_done(&r); /* done is done */
}

static void a_message_of_exactly_the_cap_is_read_and_one_more_byte_is_not(void **state) {
        enum { MAX = 3000 };
        char text[MAX + 1];
        VarlinkReader r;

        memset(text, ' ', sizeof(text));
        memcpy(text, "{\"n\":1", 6);
        text[MAX - 2] = '}';
        text[MAX - 1] = '\0';
        varlink_reader_init(&r, MAX);
        for (unsigned i = 0; i < 3; i++) {
                assert_int_equal(feed(&r, text, MAX), 0);
                assert_int_equal(take_number(&r), 1);
        }

        text[MAX - 2] = ' ';
        text[MAX - 1] = '}';
        text[MAX] = '\0';
        assert_int_equal(feed(&r, text, sizeof(text)), VARLINK_E_TOO_LARGE);
        assert_int_equal(take_number(&r), -1);
        varlink_reader_done(&r);
}

static void a_message_that_never_ends_costs_no_more_memory_than_the_cap(void **state) {
        enum { MAX = 10000 };
        VarlinkReader r;
        size_t n = 0;
        int k;

        varlink_reader_init(&r, MAX);
        while ((k = feed(&r, "{", 1)) == 0) {
                n++;
                assert_true(r.n_allocated <= MAX);
                assert_int_equal(take_number(&r), -1);
        }
        assert_int_equal(k, VARLINK_E_TOO_LARGE);
        assert_int_equal(n, MAX);
        varlink_reader_done(&r);
}

static void memory_grows_with_the_message_and_not_before(void **state) {
        VarlinkReader r;
        char *p;
        size_t n;

        varlink_reader_init(&r, 1024U * 1024U);
        assert_int_equal(varlink_reader_room(&r, &p, &n), 0);
        assert_true(n <= 4096);
        for (unsigned i = 0; i < 10000; i++) {
                assert_int_equal(feed(&r, "{\"n\":9}", 8), 0);
                assert_int_equal(take_number(&r), 9);
        }
        assert_true(r.n_allocated <= 4096);
        varlink_reader_done(&r);

        varlink_reader_init(&r, 10); /* a cap below the first allocation */
        assert_int_equal(varlink_reader_room(&r, &p, &n), 0);
        assert_int_equal(n, 10);
        varlink_reader_done(&r);
}

static void what_is_not_a_json_object_is_invalid_and_dropped(void **state) {
        assert_is_invalid("");
        assert_is_invalid(" ");
        assert_is_invalid("[]");
        assert_is_invalid("[{\"n\":1}]");
        assert_is_invalid("1");
        assert_is_invalid("null");
        assert_is_invalid("\"text\"");
        assert_is_invalid("GET / HTTP/1.1\r\n");
        assert_is_invalid("{");
        assert_is_invalid("{}}");
        assert_is_invalid("{}{}");
        assert_is_invalid("{\"n\":1");
        assert_is_invalid("{'n':1}");
        assert_is_invalid("{\"n\":01}");
        assert_is_invalid("{\"n\":NaN}");
        assert_is_invalid("{\"n\":1e999}");
        assert_is_invalid("{\"n\":99999999999999999999}");
        assert_is_invalid("{\"n\":\"\n\"}");
        assert_is_invalid("{\"n\":\"\xff\"}");         /* not UTF-8 */
        assert_is_invalid("{\"n\":\"\xc0\x80\"}");     /* overlong */
        assert_is_invalid("{\"n\":\"\\ud800\"}");      /* half a surrogate pair */
        assert_is_invalid("{\"n\":\"\\u0000\"}");      /* a NUL that C strings would lose */
        assert_is_invalid("{\"n\\u0000\":1}");
        assert_is_invalid("\xef\xbb\xbf{\"n\":1}");    /* a byte order mark */
}

static void a_key_that_is_given_twice_is_invalid(void **state) {
        /* Whoever checks one and whoever acts on the other must not be two parsers. */
        assert_is_invalid("{\"method\":\"a.b\",\"method\":\"c.d\"}");
        assert_is_invalid("{\"parameters\":{\"pid\":1,\"pid\":2}}");
        assert_is_invalid("{\"a\":1,\"\\u0061\":2}");
}

static void deep_nesting_is_invalid_and_no_crash(void **state) {
        enum { DEPTH = 30000 };
        char *text = malloc(2 * DEPTH + 16);
        size_t n = 0;

        assert_non_null(text);
        n += (size_t)sprintf(text, "{\"n\":");
        memset(text + n, '[', DEPTH);
        n += DEPTH;
        memset(text + n, ']', DEPTH);
        n += DEPTH;
        n += (size_t)sprintf(text + n, "}");
        assert_invalid(text, n + 1);
        free(text);
}

static void what_follows_a_message_is_kept_byte_for_byte(void **state) {
        static const char stream[] = "{\"n\":1}\0raw\0bytes\xff{\"n\":2}";
        const char *rest;
        VarlinkReader r;
        size_t n;

        varlink_reader_init(&r, 256);
        assert_int_equal(feed(&r, stream, sizeof(stream) - 1), 0);
        assert_int_equal(take_number(&r), 1);
        rest = varlink_reader_rest(&r, &n);
        assert_int_equal(n, sizeof(stream) - 1 - 8);
        assert_memory_equal(rest, stream + 8, n);
        varlink_reader_done(&r);
}

static json_t *load(const char *text) {
        json_t *message = json_loads(text, 0, NULL);

        assert_non_null(message);
        return message;
}

static void a_call_is_taken_apart(void **state) {
        json_t *message = load("{\"method\":\"a.B\",\"parameters\":{\"x\":1},\"more\":true,\"upgrade\":true}");
        VarlinkCall call;

        assert_int_equal(varlink_call_parse(message, &call), 0);
        assert_string_equal(call.method, "a.B");
        assert_int_equal(json_integer_value(json_object_get(call.parameters, "x")), 1);
        assert_true(call.more);
        assert_true(call.upgrade);
        assert_false(call.oneway);
        json_decref(message);

        message = load("{\"method\":\"\",\"parameters\":null,\"more\":null,\"oneway\":false,\"unknown\":[]}");
        assert_int_equal(varlink_call_parse(message, &call), 0);
        assert_string_equal(call.method, "");
        assert_null(call.parameters);
        assert_false(call.more);
        json_decref(message);
}

static void a_call_with_a_member_of_the_wrong_type_is_invalid(void **state) {
        static const char *const texts[] = {
                "{}",
                "{\"method\":null}",
                "{\"method\":1}",
                "{\"method\":[\"a.B\"]}",
                "{\"method\":\"a.B\",\"parameters\":[]}",
                "{\"method\":\"a.B\",\"parameters\":\"{}\"}",
                "{\"method\":\"a.B\",\"more\":1}",
                "{\"method\":\"a.B\",\"oneway\":\"true\"}",
                "{\"method\":\"a.B\",\"upgrade\":{}}",
        };
        VarlinkCall call = { .method = "untouched" };

        for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
                json_t *message = load(texts[i]);

                assert_int_equal(varlink_call_parse(message, &call), VARLINK_E_INVALID);
                assert_string_equal(call.method, "untouched");
                json_decref(message);
        }
}

static void a_reply_is_taken_apart_or_invalid(void **state) {
        static const char *const wrong[] = {
                "{\"error\":1}", "{\"error\":{}}", "{\"parameters\":1}", "{\"continues\":0}",
        };
        json_t *message = load("{\"error\":\"a.B\",\"parameters\":{\"reason\":\"no\"},\"continues\":true}");
        VarlinkReply reply;

        assert_int_equal(varlink_reply_parse(message, &reply), 0);
        assert_string_equal(reply.error, "a.B");
        assert_true(reply.continues);
        assert_string_equal(json_string_value(json_object_get(reply.parameters, "reason")), "no");
        json_decref(message);

        message = load("{}");
        assert_int_equal(varlink_reply_parse(message, &reply), 0);
        assert_null(reply.error);
        assert_null(reply.parameters);
        assert_false(reply.continues);
        json_decref(message);

        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
                message = load(wrong[i]);
                assert_int_equal(varlink_reply_parse(message, &reply), VARLINK_E_INVALID);
                json_decref(message);
        }
}

/* Encodes, reads again, and compares with what is expected. */
static void assert_travels(json_t *message, const char *expected) {
        json_t *wanted = load(expected), *again;
        VarlinkReader r;
        char *text;
        size_t n;

        assert_int_equal(varlink_encode_consume(message, &text, &n), 0);
        assert_int_equal(strlen(text) + 1, n);
        varlink_reader_init(&r, 4096);
        assert_int_equal(feed(&r, text, n), 0);
        assert_int_equal(varlink_reader_next(&r, &again), 0);
        assert_true(json_equal(again, wanted));
        varlink_reader_done(&r);
        json_decref(again);
        json_decref(wanted);
        free(text);
}

static void what_is_built_reads_as_it_was_meant(void **state) {
        assert_travels(varlink_call_new("a.B", NULL, false, false), "{\"method\":\"a.B\"}");
        assert_travels(varlink_call_new("a.B", json_pack("{s:s}", "t", "\n\x01\xe7\x8c\xab"), true, true),
                       "{\"method\":\"a.B\",\"parameters\":{\"t\":\"\\n\\u0001\xe7\x8c\xab\"},\"more\":true,\"upgrade\":true}");
        assert_travels(varlink_reply_new(NULL, false), "{\"parameters\":{}}");
        assert_travels(varlink_reply_new(json_pack("{s:i}", "n", 1), true), "{\"parameters\":{\"n\":1},\"continues\":true}");
        assert_travels(varlink_error_new("a.No", NULL), "{\"error\":\"a.No\",\"parameters\":{}}");
        assert_travels(varlink_error_new("a.No", json_pack("{s:s}", "reason", "why")),
                       "{\"error\":\"a.No\",\"parameters\":{\"reason\":\"why\"}}");
}

static void text_that_is_not_utf8_builds_no_message_and_leaks_nothing(void **state) {
        json_t *parameters = json_object();
        char *text = NULL;
        size_t n;

        assert_null(varlink_call_new("a.\xff", json_incref(parameters), false, false));
        assert_int_equal(parameters->refcount, 1);
        assert_null(varlink_error_new("a.\xff", json_incref(parameters)));
        assert_int_equal(parameters->refcount, 1);
        json_decref(parameters);
        assert_int_equal(varlink_encode_consume(NULL, &text, &n), -ENOMEM);
        assert_null(text);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(messages_are_found_wherever_the_stream_is_cut),
                cmocka_unit_test(an_empty_reader_has_no_message_and_no_rest),
                cmocka_unit_test(a_message_of_exactly_the_cap_is_read_and_one_more_byte_is_not),
                cmocka_unit_test(a_message_that_never_ends_costs_no_more_memory_than_the_cap),
                cmocka_unit_test(memory_grows_with_the_message_and_not_before),
                cmocka_unit_test(what_is_not_a_json_object_is_invalid_and_dropped),
                cmocka_unit_test(a_key_that_is_given_twice_is_invalid),
                cmocka_unit_test(deep_nesting_is_invalid_and_no_crash),
                cmocka_unit_test(what_follows_a_message_is_kept_byte_for_byte),
                cmocka_unit_test(a_call_is_taken_apart),
                cmocka_unit_test(a_call_with_a_member_of_the_wrong_type_is_invalid),
                cmocka_unit_test(a_reply_is_taken_apart_or_invalid),
                cmocka_unit_test(what_is_built_reads_as_it_was_meant),
                cmocka_unit_test(text_that_is_not_utf8_builds_no_message_and_leaks_nothing),
        };

        return cmocka_run_group_tests_name("varlink", tests, NULL, NULL);
}
