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

static void durations_are_numbers_with_units(void **state) {
        static const struct {
                const char *text;
                uint64_t usec;
        } durations[] = {
                { "0", 0 }, { "30", 30000000 }, { "30s", 30000000 }, { "250ms", 250000 }, { "5min", 300000000 },
                { "1h 30min", 5400000000 }, { "1h30min", 5400000000 }, { "2d", 172800000000 }, { "1 1", 2000000 },
        };
        static const char *const wrong[] = { "", " ", " 1", "s", "1 s", "1m", "1us", "-1", "1.5", "infinity", "1s,", "1S" };
        uint64_t v = 7;

        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
                assert_int_equal(parse_duration(wrong[i], UINT64_MAX, &v), -EINVAL);
        assert_int_equal(parse_duration("18446744073709551615", UINT64_MAX, &v), -ERANGE);
        assert_int_equal(parse_duration("1111111111111111111111111111111s", UINT64_MAX, &v), -ERANGE);
        assert_int_equal(parse_duration("1000ms 1ms", 1000000, &v), -ERANGE);
        assert_int_equal(v, 7);
        for (size_t i = 0; i < sizeof(durations) / sizeof(*durations); i++) {
                assert_int_equal(parse_duration(durations[i].text, UINT64_MAX, &v), 0);
                assert_int_equal(v, durations[i].usec);
        }
}

static void a_boolean_is_one_of_systemd_s_words(void **state) {
        static const char *const yes[] = { "yes", "true", "on", "1" }, *const no[] = { "no", "false", "off", "0" };
        bool value = false;

        for (size_t i = 0; i < 4; i++) {
                assert_int_equal(parse_boolean(yes[i], &value), 0);
                assert_true(value);
                assert_int_equal(parse_boolean(no[i], &value), 0);
                assert_false(value);
        }
        assert_int_equal(parse_boolean("", &value), -EINVAL);
        assert_int_equal(parse_boolean("Yes", &value), -EINVAL);
}

static void a_size_may_have_a_suffix(void **state) {
        static const char *const bad[] = { "", "K", "1k", "1 K", "1KB", "-1", "+1", "1.5G", "16777216T",
                                           "18446744073709551616", "99999999999999999999999999" };
        uint64_t n = 7;

        assert_int_equal(parse_size("0", &n), 0);
        assert_true(n == 0);
        assert_int_equal(parse_size("4096", &n), 0);
        assert_true(n == 4096);
        assert_int_equal(parse_size("3K", &n), 0);
        assert_true(n == 3072);
        assert_int_equal(parse_size("512M", &n), 0);
        assert_true(n == 512ULL << 20);
        assert_int_equal(parse_size("16777215T", &n), 0);
        assert_true(n == 16777215ULL << 40);
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
                assert_true(parse_size(bad[i], &n) < 0);
        assert_true(n == 16777215ULL << 40);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_size_may_have_a_suffix),
                cmocka_unit_test(a_boolean_is_one_of_systemd_s_words),
                cmocka_unit_test(the_whole_range_of_numbers_is_read),
                cmocka_unit_test(what_is_no_decimal_number_is_refused_and_leaves_the_output_alone),
                cmocka_unit_test(numbers_beyond_the_limit_are_out_of_range),
                cmocka_unit_test(pids_are_those_the_kernel_gives),
                cmocka_unit_test(durations_are_numbers_with_units),
        };

        return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
