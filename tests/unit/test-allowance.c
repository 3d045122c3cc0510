/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include "daemon/allowance.h"

#define DAY (86400ULL * 1000000U)

static void what_is_used_adds_up_for_each_user(void **state) {
        Allowance a;

        allowance_init(&a);
        assert_true(allowance_used(&a, 0, 5) == 0);
        assert_int_equal(allowance_use(&a, 0, 10, 5), 0);
        assert_int_equal(allowance_use(&a, 7, 1, 6), 0);
        assert_int_equal(allowance_use(&a, 0, 20, 7), 0);
        assert_true(allowance_used(&a, 0, 8) == 30);
        assert_true(allowance_used(&a, 7, 8) == 1);
        assert_true(allowance_used(&a, 8, 8) == 0);
        assert_int_equal(allowance_use(&a, 0, UINT64_MAX, 9), 0);
        assert_true(allowance_used(&a, 0, 9) == UINT64_MAX);
        allowance_done(&a);
        allowance_done(&a);
}

static void a_day_begins_with_the_first_use(void **state) {
        Allowance a;

        allowance_init(&a);
        assert_int_equal(allowance_use(&a, 1, 10, 5), 0);
        assert_int_equal(allowance_use(&a, 2, 20, 6), 0);
        assert_int_equal(allowance_use(&a, 1, 10, DAY - 1), 0);
        assert_true(allowance_used(&a, 1, DAY + 4) == 20);
        assert_true(allowance_used(&a, 1, DAY + 5) == 0);
        assert_true(allowance_used(&a, 2, DAY + 5) == 20);
        assert_int_equal(allowance_use(&a, 1, 3, DAY + 5), 0);
        assert_true(allowance_used(&a, 2, DAY + 6) == 0);
        assert_true(allowance_used(&a, 1, 2 * DAY + 4) == 3);
        allowance_done(&a);
}

static void who_is_at_the_limit_is_spoken_of_once_a_day(void **state) {
        Allowance a;

        allowance_init(&a);
        assert_false(allowance_tell(&a, 1));
        assert_int_equal(allowance_use(&a, 1, 10, 0), 0);
        assert_true(allowance_tell(&a, 1));
        assert_false(allowance_tell(&a, 1));
        assert_int_equal(allowance_use(&a, 1, 10, DAY), 0);
        assert_true(allowance_tell(&a, 1));
        allowance_done(&a);
}

static void many_users_are_forgotten_with_their_day(void **state) {
        Allowance a;

        allowance_init(&a);
        for (uid_t uid = 0; uid < 10000; uid++)
                assert_int_equal(allowance_use(&a, uid, uid, uid), 0);
        for (uid_t uid = 0; uid < 10000; uid++)
                assert_true(allowance_used(&a, uid, 10000) == uid);
        assert_true(allowance_used(&a, 0, DAY + 5000) == 0);
        assert_true(allowance_used(&a, 5001, DAY + 5000) == 5001);
        assert_true(allowance_used(&a, 0, 2 * DAY) == 0);
        assert_true(TAILQ_EMPTY(&a.users));
        assert_null(a.by_uid);
        allowance_done(&a);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_used_adds_up_for_each_user),
                cmocka_unit_test(a_day_begins_with_the_first_use),
                cmocka_unit_test(who_is_at_the_limit_is_spoken_of_once_a_day),
                cmocka_unit_test(many_users_are_forgotten_with_their_day),
        };

        return cmocka_run_group_tests_name("allowance", tests, NULL, NULL);
}
