/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>

#include "lib/parse.h"

static void the_whole_range_of_numbers_is_read(void **state) {
        uint64_t v = 7;

        assert_int_equal(parse_u64("0", UINT64_MAX, &v), 0);
        assert_int_equal(v, 0);
        assert_int_equal(parse_u64("18446744073709551615", UINT64_MAX, &v), 0);
        assert_true(v == UINT64_MAX);
        assert_int_equal(parse_u64("0000000000000000000000042", 42, &v), 0);
        assert_int_equal(v, 42);
}

static void what_is_no_decimal_number_is_refused_and_leaves_the_output_alone(void **state) {
        static const char *const texts[] = {
                "", " ", " 1", "1 ", "+1", "-1", "-0", "1.0", "1e3", "0x10", "1\n", "1_000", "\xd9\xa1", "a", "1a", "/", ":",
        };
        uint64_t v = 7;
        pid_t pid = 7;

        for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
                assert_int_equal(parse_u64(texts[i], UINT64_MAX, &v), -EINVAL);
                assert_int_equal(parse_pid(texts[i], &pid), -EINVAL);
        }
        assert_int_equal(v, 7);
        assert_int_equal(pid, 7);
}

static void numbers_beyond_the_limit_are_out_of_range(void **state) {
        static const char *const texts[] = {
                "18446744073709551616", "18446744073709551620", "184467440737095516150", "99999999999999999999999999",
        };
        uint64_t v = 7;

        for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
                assert_int_equal(parse_u64(texts[i], UINT64_MAX, &v), -ERANGE);
        assert_int_equal(parse_u64("43", 42, &v), -ERANGE);
        assert_int_equal(parse_u64("1", 0, &v), -ERANGE);
        assert_int_equal(v, 7);
        assert_int_equal(parse_u64("42", 42, &v), 0);
}

static void pids_are_those_the_kernel_gives(void **state) {
        pid_t pid = 7;

        assert_int_equal(parse_pid("0", &pid), -ERANGE);
        assert_int_equal(parse_pid("4194305", &pid), -ERANGE);
        assert_int_equal(parse_pid("4294967297", &pid), -ERANGE); /* 1 in 32 bits */
        assert_int_equal(pid, 7);
        assert_int_equal(parse_pid("1", &pid), 0);
        assert_int_equal(pid, 1);
        assert_int_equal(parse_pid("4194304", &pid), 0);
        assert_int_equal(pid, 4194304);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_whole_range_of_numbers_is_read),
                cmocka_unit_test(what_is_no_decimal_number_is_refused_and_leaves_the_output_alone),
                cmocka_unit_test(numbers_beyond_the_limit_are_out_of_range),
                cmocka_unit_test(pids_are_those_the_kernel_gives),
        };

        return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
