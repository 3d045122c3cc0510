/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include "cli/text.h"

static void assert_escaped(const char *text, const char *expected) {
        char ret[64];

        text_escape(ret, sizeof(ret), text);
        assert_string_equal(ret, expected);
}

static void what_a_terminal_obeys_is_escaped(void **state) {
        assert_escaped("a\nb\x1b[2J\xc2\x9b\xff", "a\\nb\\x1b[2J\\xc2\\x9b\\xff");
}

static void backslashes_stay_as_they_are(void **state) {
        assert_escaped("\\", "\\");
        assert_escaped("\\\\", "\\\\");
        assert_escaped("a\\nb\\x1b", "a\\nb\\x1b");
        assert_escaped("\\\n", "\\\\n");
        assert_escaped("\\\\\\n\n", "\\\\\\n\\n");
}

static void long_text_is_cut(void **state) {
        char ret[8];

        text_escape(ret, sizeof(ret), "abcdefgh");
        assert_string_equal(ret, "abcd\xe2\x80\xa6");
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_a_terminal_obeys_is_escaped),
                cmocka_unit_test(backslashes_stay_as_they_are),
                cmocka_unit_test(long_text_is_cut),
        };

        return cmocka_run_group_tests_name("cli-text", tests, NULL, NULL);
}
