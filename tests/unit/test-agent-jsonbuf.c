/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "tests/unit/test.h"

#include <jansson.h>

#include "agent/jsonbuf.h"

/* Writes @text as a string and has another library read it. */
static void assert_reads_as(const char *text, size_t n, const char *expected, size_t n_expected) {
        JsonBuffer b = JSON_BUFFER_INIT;
        json_error_t error;
        json_t *value;

        assert_true(jsonbuf_string(&b, text, n, 1000));
        value = json_loadb(b.data, b.n_data, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        assert_non_null(value);
        assert_int_equal(json_string_length(value), n_expected);
        assert_memory_equal(json_string_value(value), expected, n_expected);
        json_decref(value);
        jsonbuf_done(&b);
}

static void every_byte_survives(void **state) {
        for (int c = 0; c < 0x80; c++) {
                char text = (char)c;

                assert_reads_as(&text, 1, &text, 1);
        }
        assert_reads_as("\xE2\x98\x83 \xF0\x9F\x90\x8D", 8, "\xE2\x98\x83 \xF0\x9F\x90\x8D", 8);
}

static void what_is_not_utf8_is_replaced(void **state) {
        static const char *const bad[] = {
                "\x80",         "\xC0\x80",         "\xC3", "\xE2\x98",
                "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF", "\xF8\x88\x80\x80\x80",
        };

        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                char expected[32] = "";

                for (size_t k = 0; k < strlen(bad[i]); k++)
                        strcat(expected, "\xEF\xBF\xBD");
                assert_reads_as(bad[i], strlen(bad[i]), expected, strlen(expected));
        }
}

static void a_string_is_cut_at_a_character(void **state) {
        JsonBuffer b = JSON_BUFFER_INIT;

        assert_false(jsonbuf_string(&b, "ab\xE2\x98\x83", 5, 4));
        assert_string_equal(b.data, "\"ab\"");
        jsonbuf_done(&b);
        assert_false(jsonbuf_string(&b, "a\x01", 2, 6));
        assert_string_equal(b.data, "\"a\"");
        jsonbuf_done(&b);
        assert_true(jsonbuf_string(&b, "a\x01", 2, 7));
        assert_string_equal(b.data, "\"a\\u0001\"");
        jsonbuf_done(&b);
}

static void padding_reaches_the_multiple(void **state) {
        JsonBuffer b = JSON_BUFFER_INIT;

        jsonbuf_raw(&b, "{\"n\":");
        jsonbuf_integer(&b, -42);
        jsonbuf_raw(&b, "}");
        jsonbuf_pad(&b, 256);
        assert_int_equal(b.n_data, 256);
        jsonbuf_pad(&b, 256);
        assert_int_equal(b.n_data, 256);
        assert_memory_equal(b.data, "{\"n\":-42} ", 10);
        jsonbuf_done(&b);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_byte_survives),
                cmocka_unit_test(what_is_not_utf8_is_replaced),
                cmocka_unit_test(a_string_is_cut_at_a_character),
                cmocka_unit_test(padding_reaches_the_multiple),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
