/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <string.h>

#include "cli/filter.h"

#define TEXT(s) (s), sizeof(s) - 1

/* Feeds @text in pieces of @step bytes; the result is one string. */
static void feed_in_steps(const char *text, size_t n, size_t step, Buffer *out) {
        Filter f = FILTER_INIT;

        for (size_t at = 0; at < n; at += step)
                filter_feed(&f, text + at, n - at < step ? n - at : step, out);
        filter_finish(&f, out);
        (void)buffer_string(out);
}

static void assert_filtered(const char *text, size_t n, const char *expected) {
        for (size_t step = 1; step <= n; step++) {
                Buffer out = {};

                feed_in_steps(text, n, step, &out);
                assert_string_equal(out.data, expected);
                buffer_done(&out);
        }
}

static void text_passes(void **state) {
        assert_filtered(TEXT("a\\b\tc\n\xc3\xa9\xe2\x82\xac\n"), "a\\b\tc\n\xc3\xa9\xe2\x82\xac\n");
}

static void a_carriage_return_passes_only_as_part_of_a_line_end(void **state) {
        assert_filtered(TEXT("a\r\nb\rc\r"), "a\nb\\rc\\r");
        assert_filtered(TEXT("a\r\r\n"), "a\\r\n");
}

static void colours_pass_and_are_taken_back_at_the_end(void **state) {
        assert_filtered(TEXT("\x1b[31mred"), "\x1b[31mred\x1b[0m");
        assert_filtered(TEXT("\x1b[1;38;5;200;48;2;1;2;3mx\x1b[0m"), "\x1b[1;38;5;200;48;2;1;2;3mx\x1b[0m");
        assert_filtered(TEXT("\x1b[31mx\x1b[m"), "\x1b[31mx\x1b[m");
}

static void other_sequences_are_shown(void **state) {
        assert_filtered(TEXT("\x1b[2J"), "\\x1b[2J");
        assert_filtered(TEXT("\x1b]0;t\x07"), "\\x1b]0;t\\x07");
        assert_filtered(TEXT("\x1b[?25l"), "\\x1b[?25l");
        assert_filtered(TEXT("\x1b\x1b[31mx"), "\\x1b\x1b[31mx\x1b[0m");
        assert_filtered(TEXT("\xc2\x9b"
                             "2J"),
                        "\\xc2\\x9b2J");
}

static void text_cannot_be_hidden(void **state) {
        assert_filtered(TEXT("\x1b[8mx"), "\\x1b[8mx");
        assert_filtered(TEXT("\x1b[0;8mx"), "\\x1b[0;8mx");
        assert_filtered(TEXT("\x1b[5mx"), "\\x1b[5mx");
        assert_filtered(TEXT("\x1b[38;5;8mx"), "\x1b[38;5;8mx\x1b[0m"); /* a colour's number */
        assert_filtered(TEXT("\x1b[38;8mx"), "\\x1b[38;8mx");
        assert_filtered(TEXT("\x1b[256mx"), "\\x1b[256mx");
        assert_filtered(TEXT("a\xe2\x80\xae"
                             "b"),
                        "a\\xe2\\x80\\xaeb");
}

static void what_is_cut_short_at_the_end_is_shown(void **state) {
        assert_filtered(TEXT("a\x1b[3"), "a\\x1b[3");
        assert_filtered(TEXT("a\xe2\x82"), "a\\xe2\\x82");
        assert_filtered(TEXT("a\x1b"), "a\\x1b");
}

static void a_sequence_that_never_ends_is_not_kept(void **state) {
        char text[3 + 4 * FILTER_PENDING_MAX];
        Buffer out = {};
        Filter f = FILTER_INIT;

        memset(text, ';', sizeof(text));
        text[0] = '\x1b';
        text[1] = '[';
        filter_feed(&f, text, sizeof(text), &out);
        assert_int_equal(f.n_pending, 0);
        assert_int_equal(out.n, sizeof(text) + strlen("\\x1b") - 1);
        buffer_done(&out);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(text_passes),
                cmocka_unit_test(a_carriage_return_passes_only_as_part_of_a_line_end),
                cmocka_unit_test(colours_pass_and_are_taken_back_at_the_end),
                cmocka_unit_test(other_sequences_are_shown),
                cmocka_unit_test(text_cannot_be_hidden),
                cmocka_unit_test(what_is_cut_short_at_the_end_is_shown),
                cmocka_unit_test(a_sequence_that_never_ends_is_not_kept),
        };

        return cmocka_run_group_tests_name("cli-filter", tests, NULL, NULL);
}
