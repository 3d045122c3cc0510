/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

#include "daemon/rule-report.h"
#include "daemon/rule.h"

static void add_rule(Policy *policy, bool grants, const char *name, const char *lines) {
        char copy[256], *rest = copy, *line;

        assert_null(rule_begin(policy, grants, name, "test:1"));
        strcpy(copy, lines);
        while ((line = strsep(&rest, ";"))) {
                char *value = strchr(line, '=');

                *value = '\0';
                assert_null(rule_assign(policy, line, value + 1));
        }
        assert_null(rule_end(policy));
}

/* Clients, targets and modes of two rules, the first a grant or a denial: does it hide the second? */
static void a_rule_that_never_decides_is_found(void **state) {
        static const struct {
                bool first_grants, second_grants;
                const char *first, *second;
                bool hides;
        } cases[] = {
                { true, true, "User=1 2;TargetUser=3;Mode=observe watch", "User=2;TargetUser=3;Mode=watch",
                  true },
                { true, true, "User=1 2;TargetUser=3;Mode=observe", "User=2;TargetUser=3;Mode=watch",
                  false },
                { true, true, "User=1;TargetUser=3;Mode=*", "User=1 2;TargetUser=3;Mode=*", false },
                { true, true, "User=1;TargetUser=3;Mode=*", "Group=1;TargetUser=3;Mode=*", false },
                { true, true, "User=*;TargetUser=3;Mode=*", "Group=1;TargetUser=3;Mode=*", true },
                { true, true, "User=1;TargetUser=3;Mode=*", "User=*;TargetUser=3;Mode=*", false },
                { true, true, "User=1;Group=2;TargetUser=3;Mode=*", "Group=2;TargetUser=3;Mode=*", true },
                { true, true, "User=1;TargetUser=*;Mode=*", "User=1;TargetUser=3;Mode=*", true },
                { true, true, "User=1;TargetUser=*;Mode=*", "User=1;TargetUser=0;Mode=*", false },
                { false, true, "User=1;TargetUser=*;Mode=*", "User=1;TargetUser=0;Mode=*", true },
                { true, true, "User=1;TargetUser=*;Mode=*", "User=1;TargetUser=*;Mode=*", true },
                { true, false, "User=1;TargetUser=*;Mode=*", "User=1;TargetUser=*;Mode=*", false },
                { false, true, "User=1;TargetUser=*;Mode=*", "User=1;TargetUser=*;Mode=*", true },
                { false, false, "User=1;TargetUser=*;Mode=*", "User=1;Unit=a;Mode=*", true },
                { false, true, "User=1;TargetUser=3;Mode=*", "User=1;Unit=a;Mode=*", false },
                { false, true, "User=1;TargetUser=3 4;Mode=*", "User=1;TargetUser=4 5;Mode=*", false },
                { false, true, "User=1;Unit=a b;Mode=*", "User=1;Unit=b;TargetUser=3;Mode=*", true },
                { false, true, "User=1;Unit=a b;Mode=*", "User=1;Unit=b c;Mode=*", false },
                { false, true, "User=1;Unit=a b;Mode=*", "User=1;TargetUser=3;Mode=*", false },
                { false, true, "User=1;Executable=/a;Mode=*", "User=1;Executable=/a;Unit=x;Mode=*", true },
                { false, true, "User=1;Executable=/a;Unit=y;Mode=*", "User=1;Executable=/a;Unit=x;Mode=*",
                  false },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                Policy policy = {};

                add_rule(&policy, cases[i].first_grants, "first", cases[i].first);
                add_rule(&policy, cases[i].second_grants, "second", cases[i].second);
                assert_null(rule_hidden_by(&policy, 0));
                if (rule_hidden_by(&policy, 1) != (cases[i].hides ? policy.rules[0] : NULL))
                        fail_msg("%s and then %s", cases[i].first, cases[i].second);
                policy_done(&policy);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_rule_that_never_decides_is_found),
        };

        return cmocka_run_group_tests_name("rule-report", tests, NULL, NULL);
}
