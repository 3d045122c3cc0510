/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <string.h>

#include "cli/suggest.h"

static void a_word_is_no_distance_from_itself(void **state) {
        assert_int_equal(word_distance("attach", "attach"), 0);
        assert_int_equal(word_distance("", ""), 0);
}

static void each_mistake_counts_once(void **state) {
        assert_int_equal(word_distance("atach", "attach"), 1);
        assert_int_equal(word_distance("atttach", "attach"), 1);
        assert_int_equal(word_distance("attbch", "attach"), 1);
        assert_int_equal(word_distance("attahc", "attach"), 1);
        assert_int_equal(word_distance("lsit", "exec"), 4);
        assert_int_equal(word_distance("", "exec"), 4);
}

static void a_very_long_word_is_far_from_every_other(void **state) {
        char text[1000];

        memset(text, 'a', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        assert_int_equal(word_distance(text, "a"), sizeof(text));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_word_is_no_distance_from_itself),
                cmocka_unit_test(each_mistake_counts_once),
                cmocka_unit_test(a_very_long_word_is_far_from_every_other),
        };

        return cmocka_run_group_tests_name("cli-suggest", tests, NULL, NULL);
}
