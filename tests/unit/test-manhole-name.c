/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>

#include "daemon/manhole-name.h"

static void a_name_says_which_process_it_is(void **state) {
        pid_t pid = 0;

        assert_int_equal(manhole_name_parse("manhole-1", &pid), 0);
        assert_int_equal(pid, 1);
        assert_int_equal(manhole_name_parse("manhole-4194304", &pid), 0);
        assert_int_equal(pid, 4194304);
}

static void every_other_name_is_no_manhole(void **state) {
        static const char *const names[] = {
                "", "manhole", "manhole-", "manhole-0", "manhole-01", "manhole-001234", "manhole-00",
                "manhole--1", "manhole-+1", "manhole- 1", "manhole-1 ", "manhole-1\n", "manhole-1.sock",
                "manhole-0x10", "manhole-1e3", "manhole-4194305", "manhole-4294967297",
                "manhole-99999999999999999999999", "Manhole-1", "MANHOLE-1", " manhole-1", "xmanhole-1",
                "manhole_1", "manhole-manhole-1", "manhole-1/../x", "/tmp/manhole-1", "manhole-\xd9\xa1", "manhol", "1",
        };
        pid_t pid = 7;

        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
                assert_int_equal(manhole_name_parse(names[i], &pid), -EINVAL);
        assert_int_equal(pid, 7);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_name_says_which_process_it_is),
                cmocka_unit_test(every_other_name_is_no_manhole),
        };

        return cmocka_run_group_tests_name("manhole-name", tests, NULL, NULL);
}
