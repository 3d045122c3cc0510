/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "daemon/policy.h"
#include "daemon/rule.h"

static const uid_t others[] = {
        1, 33, 999, 1000, 1001, 65534, 0x7fffffff, 0x80000000, 0xfffffffe, (uid_t)-1
};

static const Policy defaults;

static bool allows(const Policy *policy, PolicySubject who, PolicyObject whom, PolicyMode mode) {
        PolicyVerdict verdict = policy_decide(policy, who, whom, mode);

        assert_non_null(verdict.rule);
        assert_true(*verdict.rule);
        return verdict.allowed;
}

static bool allows_uid(uid_t subject, uid_t object, PolicyMode mode) {
        return allows(&defaults, (PolicySubject){ .uid = subject }, (PolicyObject){ .uid = object }, mode);
}

static void root_may_enter_every_target(void **state) {
        for (PolicyMode m = 0; m < _POLICY_MODE_MAX; m++) {
                assert_true(allows_uid(0, 0, m));
                for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
                        assert_true(allows_uid(0, others[i], m));
        }
}

static void a_user_may_enter_targets_of_the_same_uid_alone(void **state) {
        for (PolicyMode m = 0; m < _POLICY_MODE_MAX; m++)
                for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
                        for (size_t k = 0; k < sizeof(others) / sizeof(*others); k++)
                                assert_int_equal(allows_uid(others[i], others[k], m), i == k);
}

static void nobody_but_root_enters_a_target_of_root(void **state) {
        for (PolicyMode m = 0; m < _POLICY_MODE_MAX; m++)
                for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
                        assert_false(allows_uid(others[i], 0, m));
}

/* ------------------------------------------------------------------ rules */

/* One rule: its keys as "Key=value" lines. */
static void add_rule(Policy *policy, bool grants, const char *name, const char *lines) {
        char copy[1024], *rest = copy, *line;

        assert_null(rule_begin(policy, grants, name, "test.conf:7"));
        strcpy(copy, lines);
        while ((line = strsep(&rest, "\n"))) {
                char *value = strchr(line, '=');

                *value = '\0';
                assert_null(rule_assign(policy, line, value + 1));
        }
        assert_null(rule_end(policy));
}

enum {
        ANN = 1000,
        BOB = 1001,
        APP = 33,
        DEV = 500,
        OPS = 501
};

typedef struct Question {
        uid_t uid;
        gid_t group; /* 0: in none */
        PolicyObject object;
        PolicyMode mode;
        bool allowed;
} Question;

static void assert_answers(const Policy *policy, const Question *questions, size_t n) {
        for (size_t i = 0; i < n; i++) {
                const Question *q = questions + i;
                PolicySubject subject = { .uid = q->uid, .groups = &q->group, .n_groups = q->group != 0 };

                if (allows(policy, subject, q->object, q->mode) != q->allowed)
                        fail_msg("question %zu: %s", i,
                                 policy_decide(policy, subject, q->object, q->mode).rule);
        }
}

#define assert_all(policy, questions) \
        assert_answers((policy), (questions), sizeof(questions) / sizeof(*(questions)))

static void a_grant_covers_its_users_targets_and_modes_and_nothing_else(void **state) {
        static const Question questions[] = {
                { ANN, 0, { APP }, POLICY_OBSERVE, true },    { ANN, 0, { APP }, POLICY_CONTROL, true },
                { ANN, 0, { APP }, POLICY_WATCH, false },     { ANN, 0, { APP }, POLICY_TERMINATE, false },
                { ANN, 0, { APP }, POLICY_INJECT, false },    { BOB, 0, { APP }, POLICY_OBSERVE, false },
                { ANN, 0, { BOB }, POLICY_OBSERVE, false },   { ANN, 0, { 0 }, POLICY_OBSERVE, false },
                { ANN, DEV, { APP }, POLICY_OBSERVE, true },  { APP, 0, { ANN }, POLICY_OBSERVE, false },
                { BOB, ANN, { APP }, POLICY_OBSERVE, false }, { BOB, 0, { BOB }, POLICY_INJECT, true },
        };
        Policy policy = {};

        add_rule(&policy, true, "x", "User=1000\nTargetUser=33\nMode=observe control");
        assert_all(&policy, questions);
        policy_done(&policy);
        policy_done(&policy);
}

static void every_group_of_the_client_counts(void **state) {
        static const gid_t groups[] = { 7, 8, DEV, 9 };
        PolicySubject member = { .uid = ANN, .groups = groups, .n_groups = 4 }, other = member;
        Policy policy = {};

        other.n_groups = 2;
        add_rule(&policy, true, "x", "Group=499 500\nUser=1001\nTargetUser=33\nMode=observe");
        assert_true(allows(&policy, member, (PolicyObject){ APP }, POLICY_OBSERVE));
        assert_false(allows(&policy, other, (PolicyObject){ APP }, POLICY_OBSERVE));
        other.uid = BOB;
        assert_true(allows(&policy, other, (PolicyObject){ APP }, POLICY_OBSERVE));
        /* A user's number is no group's. */
        other.uid = DEV;
        assert_false(allows(&policy, other, (PolicyObject){ APP }, POLICY_OBSERVE));
        assert_true(policy_names_group(&policy, DEV) && policy_names_group(&policy, 499));
        assert_false(policy_names_group(&policy, BOB) || policy_names_group(&policy, APP));
        policy_done(&policy);
}

/* A grant to everybody with these lines about the target: does it cover it? */
static bool grant_covers(const char *lines, PolicyObject object) {
        Policy policy = {};
        bool covers;

        add_rule(&policy, true, "x", lines);
        assert_null(rule_assign(&policy, "User", "*"));
        covers = allows(&policy, (PolicySubject){ .uid = BOB }, object, POLICY_OBSERVE);
        policy_done(&policy);
        return covers;
}

/* The other way round: what is Bob's own, is it still after a denial? */
static bool denial_covers(const char *lines, PolicyObject object) {
        Policy policy = {};
        bool covers;

        add_rule(&policy, false, "x", lines);
        add_rule(&policy, true, "behind", "User=1001\nTargetUser=0 33 1001\nMode=*");
        covers = !allows(&policy, (PolicySubject){ .uid = BOB }, object, POLICY_OBSERVE);
        policy_done(&policy);
        return covers;
}

#define ALL "User=*\nMode=*\n"

static void a_wildcard_grants_nobody_a_target_of_root_s(void **state) {
        static const char *const lines[] = {
                ALL "TargetUser=*",
                ALL "Unit=*",
                ALL "Unit=shop.service",
                ALL "Executable=/usr/bin/x",
                ALL "TargetUser=*\nUnit=shop.service",
                ALL "TargetUser=33 *",
        };
        PolicyObject roots = { 0, "shop.service", false, "/usr/bin/x" }, apps = roots, last = roots;

        apps.uid = APP;
        last.uid = (uid_t)-1;
        for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
                assert_false(grant_covers(lines[i], roots));
                assert_true(grant_covers(lines[i], apps));
                assert_true(grant_covers(lines[i], last));
                /* But it denies them. */
                assert_true(denial_covers(lines[i], roots));
                assert_true(denial_covers(lines[i], apps));
        }
        assert_true(grant_covers(ALL "TargetUser=0", roots));
        assert_true(grant_covers(ALL "TargetUser=* 0\nUnit=shop", roots));
        assert_false(grant_covers(ALL "TargetUser=* 0\nUnit=other", roots));
}

static void a_unit_is_matched_as_systemctl_names_it(void **state) {
        static const struct {
                const char *pattern, *unit;
                bool matches;
        } cases[] = {
                { "shop.service", "shop.service", true },
                { "shop", "shop.service", true },
                { "shop-*", "shop-web.service", true },
                { "shop-*.service", "shop-web.service", true },
                { "shop?", "shop1.service", true },
                { "shop@*", "shop@1.service", true },
                { "sho", "shop.service", false },
                { "shop", "shop.scope", false },
                { "shop", "shop.service.service", false },
                { "shop-*.service", "myshop-web.service", false },
                { "shop-*.service", "shop-web.scope", false },
                { "a x.service b", "x.service", true },
                { "a\\x2db.service", "a\\x2db.service", true },
                { "a\\x2db", "a\\x2db.service", true },
                { "*", NULL, false },
                { "*", "", true },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                PolicyObject object = { APP, cases[i].unit };
                char lines[64];

                (void)snprintf(lines, sizeof(lines), ALL "Unit=%s", cases[i].pattern);
                if (grant_covers(lines, object) != cases[i].matches ||
                    denial_covers(lines, object) != cases[i].matches)
                        fail_msg("%s %s", cases[i].pattern, cases[i].unit ?: "none");
        }
}

static void an_executable_is_matched_component_by_component(void **state) {
        static const struct {
                const char *pattern, *executable;
                bool matches;
        } cases[] = {
                { "/usr/bin/python3*", "/usr/bin/python3.11", true },
                { "/usr/bin/python3*", "/usr/bin/python3/x", false },
                { "/opt/*/bin/*", "/opt/a/bin/python", true },
                { "/opt/*/bin/*", "/opt/a/b/bin/python", false },
                { "/usr/bin/x", "/usr/bin/xy", false },
                { "/a /b", "/b", true },
                { "\"/a b\"", "/a b", true },
                { "\"/a b\"", "/a", false },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                PolicyObject object = { APP, .executable = cases[i].executable };
                char lines[64];

                (void)snprintf(lines, sizeof(lines), ALL "Executable=%s", cases[i].pattern);
                if (grant_covers(lines, object) != cases[i].matches ||
                    denial_covers(lines, object) != cases[i].matches)
                        fail_msg("%s %s", cases[i].pattern, cases[i].executable);
        }
}

static void what_cannot_be_read_is_never_granted_and_always_denied(void **state) {
        PolicySubject hidden = { .uid = BOB, .groups_unknown = true };
        PolicyObject own = { .uid = BOB }, apps = { .uid = APP };
        Policy policy = {};

        assert_false(grant_covers(ALL "Executable=/*", apps));
        assert_true(denial_covers(ALL "Executable=/*", apps));
        assert_false(grant_covers(ALL "Unit=*", (PolicyObject){ APP, .unit_unknown = true }));
        assert_true(denial_covers(ALL "Unit=x", (PolicyObject){ APP, .unit_unknown = true }));

        add_rule(&policy, true, "a", "Group=500\nTargetUser=33\nMode=*");
        assert_false(allows(&policy, hidden, apps, POLICY_OBSERVE));
        assert_true(allows(&policy, hidden, own, POLICY_OBSERVE));
        add_rule(&policy, false, "b", "Group=500\nTargetUser=1001\nMode=*");
        assert_false(allows(&policy, hidden, own, POLICY_OBSERVE));
        policy_done(&policy);

        /* Without a group in it a rule does not care. */
        add_rule(&policy, false, "c", "User=1000\nTargetUser=1001\nMode=*");
        assert_true(allows(&policy, hidden, own, POLICY_OBSERVE));
        policy_done(&policy);
}

static void every_criterion_of_the_target_must_match(void **state) {
        static const char lines[] = ALL "TargetUser=33 34\nUnit=shop* pay*\nExecutable=/a /b";

        assert_true(grant_covers(lines, (PolicyObject){ APP, "shop.service", false, "/b" }));
        assert_true(grant_covers(lines, (PolicyObject){ 34, "pay.service", false, "/a" }));
        assert_false(grant_covers(lines, (PolicyObject){ 35, "shop.service", false, "/b" }));
        assert_false(grant_covers(lines, (PolicyObject){ APP, "mail.service", false, "/b" }));
        assert_false(grant_covers(lines, (PolicyObject){ APP, "shop.service", false, "/c" }));
        assert_false(grant_covers(lines, (PolicyObject){ APP, NULL, false, "/b" }));
}

static void the_first_rule_that_matches_decides(void **state) {
        static const Question questions[] = {
                { ANN, 0, { APP, "pay.service" }, POLICY_CONTROL, true },
                { ANN, 0, { APP, "pay.service" }, POLICY_OBSERVE, false },
                { ANN, DEV, { APP, "pay.service" }, POLICY_OBSERVE, true },
                { BOB, DEV, { APP, "pay.service" }, POLICY_CONTROL, false },
                { BOB, DEV, { APP, "pay.service" }, POLICY_OBSERVE, true },
                { BOB, DEV, { APP, "shop.service" }, POLICY_CONTROL, true },
                { BOB, OPS, { APP, "shop.service" }, POLICY_CONTROL, false },
                /* A denial comes before a user's own right, and root's comes before all. */
                { APP, 0, { APP }, POLICY_CONTROL, false },
                { APP, 0, { APP }, POLICY_OBSERVE, true },
                { 0, 0, { APP, "pay.service" }, POLICY_CONTROL, true },
        };
        PolicySubject bob = { .uid = BOB, .groups = &(gid_t){ DEV }, .n_groups = 1 };
        Policy policy = {};

        add_rule(&policy, true, "exception", "User=1000\nUnit=pay*\nMode=control");
        add_rule(&policy, false, "payments", "User=*\nUnit=pay*\nMode=control watch");
        add_rule(&policy, true, "developers", "Group=500\nTargetUser=33\nMode=observe control");
        add_rule(&policy, false, "not even itself", "User=33 0\nTargetUser=*\nMode=control");
        assert_all(&policy, questions);

        assert_string_equal(
                policy_decide(&policy, bob, (PolicyObject){ APP, "pay.service" }, POLICY_CONTROL).rule,
                "denied by [Deny \"payments\"], test.conf:7");
        assert_string_equal(
                policy_decide(&policy, bob, (PolicyObject){ APP, "pay.service" }, POLICY_OBSERVE).rule,
                "granted by [Grant \"developers\"], test.conf:7");
        policy_done(&policy);
}

static void a_name_that_nobody_knows_matches_nobody(void **state) {
        static const uid_t ids[] = { 0, 1, ANN, (uid_t)-1 };
        Policy policy = {};

        add_rule(&policy, true, "x", "User=nobody-knows\nGroup=nobody-knows\nTargetUser=33\nMode=*");
        add_rule(&policy, true, "y", "User=1000\nTargetUser=nobody-knows\nMode=*");
        for (size_t i = 1; i < sizeof(ids) / sizeof(*ids); i++) {
                PolicySubject subject = { .uid = ids[i], .groups = ids, .n_groups = 4 };

                assert_false(allows(&policy, subject, (PolicyObject){ APP }, POLICY_OBSERVE));
                assert_false(allows(&policy, subject, (PolicyObject){ 0 }, POLICY_OBSERVE));
        }
        assert_false(policy_names_group(&policy, 0));

        policy.rules[0]->groups.names[0].known = true;
        policy.rules[0]->groups.names[0].id = OPS;
        assert_true(policy_names_group(&policy, OPS));
        policy_done(&policy);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(root_may_enter_every_target),
                cmocka_unit_test(a_user_may_enter_targets_of_the_same_uid_alone),
                cmocka_unit_test(nobody_but_root_enters_a_target_of_root),
                cmocka_unit_test(a_grant_covers_its_users_targets_and_modes_and_nothing_else),
                cmocka_unit_test(every_group_of_the_client_counts),
                cmocka_unit_test(a_wildcard_grants_nobody_a_target_of_root_s),
                cmocka_unit_test(a_unit_is_matched_as_systemctl_names_it),
                cmocka_unit_test(an_executable_is_matched_component_by_component),
                cmocka_unit_test(what_cannot_be_read_is_never_granted_and_always_denied),
                cmocka_unit_test(every_criterion_of_the_target_must_match),
                cmocka_unit_test(the_first_rule_that_matches_decides),
                cmocka_unit_test(a_name_that_nobody_knows_matches_nobody),
        };

        return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
