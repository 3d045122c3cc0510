/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <limits.h>

#include "daemon/quota.h"

static void a_user_gets_as_many_as_there_are_and_no_more(void **state) {
        Quota q;

        quota_init(&q, 3);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(quota_charge(&q, 1000), 0);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(quota_charge(&q, 1000), QUOTA_E_EXCEEDED);
        assert_int_equal(quota_used(&q, 1000), 3);

        quota_release(&q, 1000);
        assert_int_equal(quota_charge(&q, 1000), 0);
        assert_int_equal(quota_charge(&q, 1000), QUOTA_E_EXCEEDED);
        quota_done(&q);
}

static void one_user_takes_nothing_from_another(void **state) {
        static const uid_t uids[] = { 0, 1, 1000, 0x7fffffff, 0x80000000, (uid_t)-2, (uid_t)-1 };
        Quota q;

        quota_init(&q, 1);
        for (size_t i = 0; i < sizeof(uids) / sizeof(*uids); i++) {
                assert_int_equal(quota_used(&q, uids[i]), 0);
                assert_int_equal(quota_charge(&q, uids[i]), 0);
        }
        for (size_t i = 0; i < sizeof(uids) / sizeof(*uids); i++) {
                assert_int_equal(quota_charge(&q, uids[i]), QUOTA_E_EXCEEDED);
                quota_release(&q, uids[i]);
                assert_int_equal(quota_used(&q, uids[i]), 0);
        }
        quota_done(&q);
}

static void who_holds_nothing_costs_nothing(void **state) {
        Quota q;

        quota_init(&q, 2);
        for (uid_t uid = 0; uid < 1000; uid++) {
                assert_int_equal(quota_charge(&q, uid), 0);
                assert_int_equal(quota_charge(&q, uid), 0);
                quota_release(&q, uid);
                quota_release(&q, uid);
        }
        assert_null(q.users);
        quota_done(&q);
}

static void a_refused_charge_costs_nothing_either(void **state) {
        Quota q;

        quota_init(&q, 0);
        assert_int_equal(quota_charge(&q, 1000), QUOTA_E_EXCEEDED);
        assert_null(q.users);
        quota_done(&q);
}

static void a_lower_limit_waits_for_what_is_held_to_be_given_back(void **state) {
        Quota q;

        quota_init(&q, 3);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(quota_charge(&q, 7), 0);
        q.max_per_user = 1; /* the configuration was read again */
        assert_int_equal(quota_charge(&q, 7), QUOTA_E_EXCEEDED);
        quota_release(&q, 7);
        quota_release(&q, 7);
        assert_int_equal(quota_charge(&q, 7), QUOTA_E_EXCEEDED);
        quota_release(&q, 7);
        assert_int_equal(quota_charge(&q, 7), 0);
        quota_done(&q);
}

static void done_forgets_what_is_held(void **state) {
        Quota q;

        quota_init(&q, 3);
        assert_int_equal(quota_charge(&q, 1), 0);
        quota_done(&q);
        quota_done(&q);
        assert_int_equal(quota_used(&q, 1), 0);
}

static void many_are_charged_at_once_or_none(void **state) {
        Quota q;

        quota_init(&q, 10);
        assert_int_equal(quota_charge_many(&q, 1000, 11), QUOTA_E_EXCEEDED);
        assert_int_equal(quota_charge_many(&q, 1000, 4), 0);
        assert_int_equal(quota_charge_many(&q, 1000, 7), QUOTA_E_EXCEEDED);
        assert_int_equal(quota_charge_many(&q, 1000, UINT_MAX), QUOTA_E_EXCEEDED);
        assert_int_equal(quota_used(&q, 1000), 4);
        assert_int_equal(quota_charge_many(&q, 1000, 6), 0);
        quota_release_many(&q, 1000, 9);
        assert_int_equal(quota_used(&q, 1000), 1);
        /* A limit that is lowered under what is held. */
        q.max_per_user = 0;
        assert_int_equal(quota_charge_many(&q, 1000, UINT_MAX), QUOTA_E_EXCEEDED);
        quota_release(&q, 1000);
        assert_int_equal(quota_used(&q, 1000), 0);
        quota_done(&q);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_user_gets_as_many_as_there_are_and_no_more),
                cmocka_unit_test(one_user_takes_nothing_from_another),
                cmocka_unit_test(who_holds_nothing_costs_nothing),
                cmocka_unit_test(a_refused_charge_costs_nothing_either),
                cmocka_unit_test(a_lower_limit_waits_for_what_is_held_to_be_given_back),
                cmocka_unit_test(done_forgets_what_is_held),
                cmocka_unit_test(many_are_charged_at_once_or_none),
        };

        return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
