/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/resolver.h"
#include "daemon/rule.h"
#include "lib/cleanup.h"
#include "tests/unit/threads.h"

/* ---------------------------------------------- a name service of the test's own */

static int gate[2] = { -1, -1 };  /* with it, each question waits for a byte */
static int asked[2] = { -1, -1 }; /* and says so */
static size_t needs;              /* bytes of buffer */
static unsigned n_questions;

static int answer(const char *name, size_t size, bool *ret_found) {
        char c = 0;

        n_questions++;
        if (gate[0] >= 0 && (write(asked[1], &c, 1) < 0 || read(gate[0], &c, 1) < 0))
                return EIO;
        if (size < needs)
                return ERANGE;
        *ret_found = strcmp(name, "known") == 0;
        return 0;
}

int getpwnam_r(const char *name, struct passwd *pw, char *buffer, size_t size, struct passwd **ret) {
        bool found = false;
        int r = answer(name, size, &found);

        *pw = (struct passwd){ .pw_uid = 4711 };
        *ret = found ? pw : NULL;
        return r;
}

int getgrnam_r(const char *name, struct group *gr, char *buffer, size_t size, struct group **ret) {
        bool found = false;
        int r = answer(name, size, &found);

        *gr = (struct group){ .gr_gid = 815 };
        *ret = found ? gr : NULL;
        return r;
}

static Policy make_policy(void) {
        Policy policy = {};

        assert_null(rule_begin(&policy, true, "x", "test:1"));
        assert_null(rule_assign(&policy, "User", "known unknown 7"));
        assert_null(rule_assign(&policy, "Group", "known unknown 8"));
        assert_null(rule_assign(&policy, "TargetUser", "known unknown 9 *"));
        assert_null(rule_assign(&policy, "Mode", "*"));
        assert_null(rule_end(&policy));
        return policy;
}

static void assert_names(const PolicyNames *names, uint32_t known, uint32_t number) {
        assert_int_equal(names->n, 3);
        assert_true(names->names[0].known && !names->names[1].known && names->names[2].known);
        assert_int_equal(names->names[0].id, known);
        assert_int_equal(names->names[2].id, number);
}

static void assert_resolved(const Policy *policy) {
        assert_int_equal(policy->n_rules, 1);
        assert_names(&policy->rules[0]->users, 4711, 7);
        assert_names(&policy->rules[0]->groups, 815, 8);
        assert_names(&policy->rules[0]->target_users, 4711, 9);
}

static void names_get_their_numbers_and_numbers_are_not_asked_for(void **state) {
        _cleanup_(policy_done) Policy policy = make_policy();

        n_questions = 0;
        resolve_policy(&policy);
        assert_resolved(&policy);
        assert_int_equal(n_questions, 6);
}

static void a_group_of_many_members_is_asked_for_with_more_room(void **state) {
        _cleanup_(policy_done) Policy policy = make_policy();

        needs = 3U * 1024U * 1024U;
        resolve_policy(&policy);
        assert_resolved(&policy);
        needs = 64U * 1024U * 1024U; /* there is an end to it */
        policy_done(&policy);
        policy = make_policy();
        resolve_policy(&policy);
        assert_false(policy.rules[0]->users.names[0].known);
        needs = 0;
}

/* ------------------------------------------------------------------ on a loop */

static struct event_base *loop;
static Policy answered;
static unsigned n_answers;

static void on_done(Policy *policy, void *userdata) {
        assert_ptr_equal(userdata, &n_answers);
        n_answers++;
        policy_done(&answered);
        answered = *policy;
}

static void let_go(unsigned n) {
        static const char bytes[16];

        assert_int_equal(write(gate[1], bytes, n), n);
}

static void the_loop_goes_on_while_the_name_service_does_not_answer(void **state) {
        _cleanup_(policy_done) Policy policy = make_policy();
        Resolver *r;
        char c;

        assert_int_equal(resolver_new(loop, on_done, &n_answers, &r), 0);
        for (unsigned i = 1; i <= 3; i++) {
                assert_false(resolver_is_busy(r));
                policy_done(&policy);
                policy = make_policy();
                assert_int_equal(resolver_begin(r, &policy), 0);
                assert_int_equal(policy.n_rules, 0); /* taken over */
                assert_int_equal(read(asked[0], &c, 1), 1);
                assert_int_equal(event_base_loop(loop, EVLOOP_NONBLOCK), 0);
                assert_true(resolver_is_busy(r));
                assert_int_equal(n_answers, i - 1);
                let_go(6);
                assert_int_equal(event_base_loop(loop, EVLOOP_ONCE), 0);
                assert_int_equal(n_answers, i);
                assert_resolved(&answered);
                for (unsigned k = 1; k < 6; k++)
                        assert_int_equal(read(asked[0], &c, 1), 1);
        }
        resolver_free(r);
}

static void who_hangs_in_a_name_service_is_left_behind(void **state) {
        Policy policy = make_policy();
        unsigned before = n_answers;
        Resolver *r;
        char c;

        assert_int_equal(resolver_new(loop, on_done, &n_answers, &r), 0);
        assert_int_equal(resolver_begin(r, &policy), 0);
        assert_int_equal(read(asked[0], &c, 1), 1);
        resolver_free(r); /* it does not wait */
        let_go(6);
        for (unsigned k = 1; k < 6; k++)
                assert_int_equal(read(asked[0], &c, 1), 1);
        (void)event_base_loop(loop, EVLOOP_NONBLOCK);
        assert_int_equal(n_answers, before);
        resolver_free(NULL);
}

static int open_gates(void **state) {
        loop = event_base_new();
        return loop && pipe(gate) == 0 && pipe(asked) == 0 ? 0 : -1;
}

static int close_gates(void **state) {
        int r = threads_wait_for_last();

        for (unsigned i = 0; i < 2; i++) {
                gate[i] = fd_close(gate[i]);
                asked[i] = fd_close(asked[i]);
        }
        policy_done(&answered);
        event_base_free(loop);
        return r;
}

#define GATED(test) cmocka_unit_test_setup_teardown(test, open_gates, close_gates)

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_get_their_numbers_and_numbers_are_not_asked_for),
                cmocka_unit_test(a_group_of_many_members_is_asked_for_with_more_room),
                GATED(the_loop_goes_on_while_the_name_service_does_not_answer),
                GATED(who_hangs_in_a_name_service_is_left_behind),
        };

        return cmocka_run_group_tests_name("resolver", tests, NULL, NULL);
}
