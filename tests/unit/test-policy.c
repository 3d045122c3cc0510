/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <stdint.h>

#include "daemon/policy.h"

static const uid_t others[] = { 1, 33, 999, 1000, 1001, 65534, 0x7fffffff, 0x80000000, 0xfffffffe, (uid_t)-1 };

static const PolicyMode modes[] = { POLICY_OBSERVE, POLICY_CONTROL };

static bool allows(uid_t subject, uid_t object, PolicyMode mode) {
        PolicySubject who = { .uid = subject };
        PolicyObject whom = { .uid = object };
        PolicyVerdict verdict = policy_decide(who, whom, mode);

        assert_non_null(verdict.rule);
        assert_true(*verdict.rule);
        return verdict.allowed;
}

static void root_may_enter_every_target(void **state) {
        for (size_t m = 0; m < 2; m++) {
                assert_true(allows(0, 0, modes[m]));
                for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
                        assert_true(allows(0, others[i], modes[m]));
        }
}

static void a_user_may_enter_targets_of_the_same_uid_alone(void **state) {
        for (size_t m = 0; m < 2; m++)
                for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
                        for (size_t k = 0; k < sizeof(others) / sizeof(*others); k++)
                                assert_int_equal(allows(others[i], others[k], modes[m]), i == k);
}

static void nobody_but_root_enters_a_target_of_root(void **state) {
        for (size_t m = 0; m < 2; m++)
                for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
                        assert_false(allows(others[i], 0, modes[m]));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(root_may_enter_every_target),
                cmocka_unit_test(a_user_may_enter_targets_of_the_same_uid_alone),
                cmocka_unit_test(nobody_but_root_enters_a_target_of_root),
        };

        return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
