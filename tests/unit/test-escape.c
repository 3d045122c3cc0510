/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/escape.h"

#define ELLIPSIS "\xe2\x80\xa6"

static void assert_escaped(const char *text, size_t n, const char *expected) {
        char out[256];
        size_t k = escape_text(out, sizeof(out), text, n);

        assert_string_equal(out, expected);
        assert_int_equal(k, strlen(expected));
}

#define assert_escapes(text, expected) assert_escaped(text, sizeof(text) - 1, expected)

static void printable_text_stays_as_it_is(void **state) {
        assert_escapes("", "");
        assert_escapes("gunicorn: worker [app:main]", "gunicorn: worker [app:main]");
        assert_escapes("Käse 猫 \xf0\x9f\x90\x8d", "Käse 猫 \xf0\x9f\x90\x8d");
        assert_escapes("\xc2\xa0", "\xc2\xa0"); /* U+00A0, the first after C1 */
}

static void what_steers_a_terminal_or_a_log_is_escaped(void **state) {
        assert_escapes("a\nb\tc\rd\\e", "a\\nb\\tc\\rd\\\\e");
        assert_escapes("\x1b[2J\x07\x7f\x08", "\\x1b[2J\\x07\\x7f\\x08");
        assert_escapes("a\0b", "a\\x00b");
        assert_escapes("\xc2\x9b" "31m", "\\xc2\\x9b31m"); /* C1 CSI, in UTF-8 */
        assert_escapes("\xc2\x80\xc2\x9f", "\\xc2\\x80\\xc2\\x9f");
        assert_escapes("\x9b" "31m", "\\x9b31m"); /* and as one byte */
}

static void every_c1_control_is_escaped(void **state) {
        for (unsigned c = 0x80; c < 0xa0; c++) {
                char text[] = { '\xc2', (char)c, '\0' }, expected[16];

                (void)snprintf(expected, sizeof(expected), "\\xc2\\x%02x", c);
                assert_escaped(text, 2, expected);
        }
}

static size_t encode(uint32_t c, char ret[4]) {
        if (c < 0x80) {
                ret[0] = (char)c;
                return 1;
        }
        if (c < 0x800) {
                ret[0] = (char)(0xc0 | c >> 6);
                ret[1] = (char)(0x80 | (c & 0x3f));
                return 2;
        }
        if (c < 0x10000) {
                ret[0] = (char)(0xe0 | c >> 12);
                ret[1] = (char)(0x80 | (c >> 6 & 0x3f));
                ret[2] = (char)(0x80 | (c & 0x3f));
                return 3;
        }
        ret[0] = (char)(0xf0 | c >> 18);
        ret[1] = (char)(0x80 | (c >> 12 & 0x3f));
        ret[2] = (char)(0x80 | (c >> 6 & 0x3f));
        ret[3] = (char)(0x80 | (c & 0x3f));
        return 4;
}

static void marks_that_reorder_or_hide_text_are_escaped(void **state) {
        static const struct {
                uint32_t first, last;
        } hidden[] = {
                { 0x00ad, 0x00ad },   /* soft hyphen */
                { 0x034f, 0x034f },   /* combining grapheme joiner */
                { 0x061c, 0x061c },   /* Arabic letter mark */
                { 0x115f, 0x1160 },   /* Hangul fillers: blank, but a letter */
                { 0x17b4, 0x17b5 },
                { 0x180b, 0x180f },   /* Mongolian selectors and vowel separator */
                { 0x200b, 0x200f },   /* zero width; left-to-right and right-to-left marks */
                { 0x2028, 0x202e },   /* separators, embeddings, overrides */
                { 0x2060, 0x206f },   /* isolates */
                { 0x3164, 0x3164 },
                { 0xfe00, 0xfe0f },   /* variation selectors */
                { 0xfeff, 0xfeff },   /* byte order mark */
                { 0xffa0, 0xffa0 },
                { 0xfff0, 0xfffb },   /* annotations */
                { 0x1bca0, 0x1bca3 },
                { 0x1d173, 0x1d17a },
                { 0xe0000, 0xe0fff }, /* tags */
        };
        char text[4], out[32];

        for (size_t i = 0; i < sizeof(hidden) / sizeof(*hidden); i++)
                for (uint32_t c = hidden[i].first; c <= hidden[i].last; c++) {
                        size_t n = encode(c, text);

                        assert_int_equal(utf8_length(text, n, NULL), n);
                        assert_int_equal(escape_text(out, sizeof(out), text, n), 4 * n);
                        assert_memory_equal(out, "\\x", 2);
                }
        /* And their neighbours are not. */
        for (size_t i = 0; i < sizeof(hidden) / sizeof(*hidden); i++) {
                size_t n = encode(hidden[i].last + 1, text);

                if (hidden[i].last == 0x202e || hidden[i].last == 0xfffb || hidden[i].last == 0x115f)
                        continue;
                assert_int_equal(escape_text(out, sizeof(out), text, n), n);
        }
}

static void what_is_not_utf8_is_escaped_byte_by_byte(void **state) {
        assert_escapes("\x80", "\\x80");                         /* a lone continuation */
        assert_escapes("\xff\xfe", "\\xff\\xfe");
        assert_escapes("\xc0\x80", "\\xc0\\x80");                /* overlong NUL */
        assert_escapes("\xc1\xbf", "\\xc1\\xbf");
        assert_escapes("\xe0\x9f\xbf", "\\xe0\\x9f\\xbf");       /* overlong */
        assert_escapes("\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf");
        assert_escapes("\xed\xa0\x80", "\\xed\\xa0\\x80");       /* a surrogate */
        assert_escapes("\xed\xbf\xbf", "\\xed\\xbf\\xbf");
        assert_escapes("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* beyond U+10FFFF */
        assert_escapes("\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80");
        assert_escapes("\xe7\x8c", "\\xe7\\x8c");                /* cut short */
        assert_escapes("\xe7\x8c" "a", "\\xe7\\x8ca");           /* broken off */
        assert_escapes("\xe7\xe7\x8c\xab", "\\xe7\xe7\x8c\xab"); /* begins again */
        assert_escapes("\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80"); /* around surrogates */
        assert_escapes("\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf");  /* U+10FFFF */
}

static void a_cut_character_is_told_from_a_broken_one(void **state) {
        static const char cat[] = "\xe7\x8c\xab", snake[] = "\xf0\x9f\x90\x8d";
        bool cut = true;

        assert_int_equal(utf8_length("", 0, &cut), 0);
        assert_false(cut);
        for (size_t n = 1; n < 4; n++) {
                assert_int_equal(utf8_length(snake, n, &cut), 0);
                assert_true(cut);
        }
        assert_int_equal(utf8_length(snake, 4, &cut), 4);
        assert_false(cut);
        assert_int_equal(utf8_length(snake, 9, &cut), 4);
        assert_int_equal(utf8_length(cat, 2, &cut), 0);
        assert_true(cut);
        assert_int_equal(utf8_length("\xe7\x20", 2, &cut), 0);
        assert_false(cut);
        assert_int_equal(utf8_length("\xed\xa0", 2, &cut), 0); /* can only become a surrogate */
        assert_false(cut);
        assert_int_equal(utf8_length("\xc0", 1, &cut), 0);
        assert_false(cut);
}

/* An independent spelling of the rules for the shortest inputs. */
static size_t reference_one(uint8_t a, char *ret) {
        switch (a) {
        case '\n':
                return (size_t)sprintf(ret, "\\n");
        case '\t':
                return (size_t)sprintf(ret, "\\t");
        case '\r':
                return (size_t)sprintf(ret, "\\r");
        case '\\':
                return (size_t)sprintf(ret, "\\\\");
        default:
                if (a >= ' ' && a <= '~')
                        return (size_t)sprintf(ret, "%c", a);
                return (size_t)sprintf(ret, "\\x%02x", a);
        }
}

static void all_inputs_of_one_and_two_bytes_are_as_the_rules_say(void **state) {
        char expected[16], out[16];

        for (unsigned a = 0; a < 256; a++) {
                char one = (char)a;

                expected[reference_one((uint8_t)a, expected)] = '\0';
                assert_int_equal(escape_text(out, sizeof(out), &one, 1), strlen(expected));
                assert_string_equal(out, expected);

                for (unsigned b = 0; b < 256; b++) {
                        char two[] = { (char)a, (char)b };
                        uint32_t c = (a & 0x1f) << 6 | (b & 0x3f);
                        bool character = a >= 0xc2 && a <= 0xdf && b >= 0x80 && b <= 0xbf;
                        size_t n;

                        if (character && c >= 0xa0 && c != 0xad && c != 0x34f && c != 0x61c)
                                n = (size_t)sprintf(expected, "%c%c", (int)a, (int)b);
                        else {
                                n = reference_one((uint8_t)a, expected);
                                n += reference_one((uint8_t)b, expected + n);
                        }
                        expected[n] = '\0';
                        assert_int_equal(escape_text(out, sizeof(out), two, 2), n);
                        assert_memory_equal(out, expected, n + 1);
                }
        }
}

/* Whatever the size: a whole prefix, then "…", never half a character, never beyond the end. */
static void assert_cut_well(const char *text, size_t n) {
        char full[512], out[512];
        size_t n_full = escape_text(full, sizeof(full), text, n);

        for (size_t size = 8; size < n_full + 4; size++) {
                size_t k;

                memset(out, '#', sizeof(out));
                k = escape_text(out, size, text, n);
                assert_true(k < size);
                assert_int_equal(out[k], '\0');
                assert_int_equal(strlen(out), k);
                for (size_t i = size; i < sizeof(out); i++)
                        assert_int_equal(out[i], '#');
                for (size_t at = 0, used; at < k; at += used) {
                        used = utf8_length(out + at, k - at, NULL);
                        assert_true(used > 0);
                }
                if (n_full < size) {
                        assert_string_equal(out, full);
                        continue;
                }
                assert_true(k >= strlen(ELLIPSIS));
                assert_string_equal(out + k - strlen(ELLIPSIS), ELLIPSIS);
                assert_memory_equal(out, full, k - strlen(ELLIPSIS));
                /* No escape is left half, and no room that one more piece would fit is wasted. */
                assert_true(k + 5 + strlen(ELLIPSIS) > size);
        }
}

static void a_text_that_does_not_fit_ends_in_an_ellipsis(void **state) {
        char out[8];

        assert_int_equal(escape_text(out, sizeof(out), "abcdefg", 7), 7);
        assert_string_equal(out, "abcdefg");
        assert_int_equal(escape_text(out, sizeof(out), "abcdefgh", 8), 7);
        assert_string_equal(out, "abcd" ELLIPSIS);
        assert_int_equal(escape_text(out, sizeof(out), "\x01\x02", 2), 7);
        assert_string_equal(out, "\\x01" ELLIPSIS);

        assert_cut_well("the quick brown fox", 19);
        assert_cut_well("\xf0\x9f\x90\x8d\xf0\x9f\x90\x8d\xf0\x9f\x90\x8d", 12);
        assert_cut_well("a\nb\x1b[2J\xe7\x8c\xab\xff\xff\xff\\\\\\", 17);
        assert_cut_well("\x01\x02\x03\x04\x05\x06", 6);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(printable_text_stays_as_it_is),
                cmocka_unit_test(what_steers_a_terminal_or_a_log_is_escaped),
                cmocka_unit_test(every_c1_control_is_escaped),
                cmocka_unit_test(marks_that_reorder_or_hide_text_are_escaped),
                cmocka_unit_test(what_is_not_utf8_is_escaped_byte_by_byte),
                cmocka_unit_test(a_cut_character_is_told_from_a_broken_one),
                cmocka_unit_test(all_inputs_of_one_and_two_bytes_are_as_the_rules_say),
                cmocka_unit_test(a_text_that_does_not_fit_ends_in_an_ellipsis),
        };

        return cmocka_run_group_tests_name("escape", tests, NULL, NULL);
}
