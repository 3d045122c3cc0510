/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <pwd.h>
#include <string.h>

#include "daemon/names.h"
#include "tests/unit/threads.h"

/* Nobody has these. */
#define UNKNOWN 3999999000U
/* More than are remembered at once. */
#define MANY 5000U

static struct event_base *loop;
static Names *names;

static void give_up(evutil_socket_t fd, short what, void *userdata) {
        fail_msg("nothing came within 30 seconds");
}

static int enter(void **state) {
        loop = event_base_new();
        return names_new(loop, &names);
}

static int leave(void **state) {
        names_free(names);
        event_base_free(loop);
        return threads_wait_for_last();
}

typedef struct Wait {
        NameWait wait;
        unsigned *n_left;
        unsigned n_calls;
        bool again;
} Wait;

static void on_done(NameWait *wait, void *userdata) {
        Wait *w = userdata;

        assert_ptr_equal(wait, &w->wait);
        assert_null(wait->names); /* idle: it may be used again */
        w->n_calls++;
        if (--*w->n_left == 0)
                (void)event_base_loopbreak(loop);
}

static void run_until_done(void) {
        struct event *deadline = evtimer_new(loop, give_up, NULL);

        assert_int_equal(evtimer_add(deadline, &(struct timeval){ .tv_sec = 30 }), 0);
        (void)event_base_dispatch(loop);
        event_free(deadline);
}

/* The answer, once it is there. */
static const char *look_up(uid_t uid) {
        unsigned left = 1;
        Wait w = { .n_left = &left };

        if (names_wait(names, &w.wait, uid, on_done, &w)) {
                run_until_done();
                assert_int_equal(w.n_calls, 1);
        }
        return names_get(names, uid);
}

static void a_known_user_has_a_name(void **state) {
        assert_string_equal(look_up(0), "root");
}

static void an_unknown_user_has_none(void **state) {
        assert_null(getpwuid(UNKNOWN));
        assert_null(look_up(UNKNOWN));
        assert_null(look_up((uid_t)-1));
}

static void what_is_known_is_not_waited_for(void **state) {
        Wait w = {};

        assert_string_equal(look_up(0), "root");
        assert_null(look_up(UNKNOWN));
        assert_false(names_wait(names, &w.wait, 0, on_done, &w));
        assert_false(names_wait(names, &w.wait, UNKNOWN, on_done, &w));
        assert_null(w.wait.names);
        assert_string_equal(names_get(names, 0), "root"); /* at once */
}

static void a_first_question_is_never_answered_on_the_spot(void **state) {
        assert_null(names_get(names, 0));
        /* It has been asked; whoever waits now learns it too. */
        assert_string_equal(look_up(0), "root");
}

static void all_who_wait_for_one_answer_are_told(void **state) {
        unsigned left = 5;
        Wait w[5] = {};

        for (unsigned i = 0; i < 5; i++) {
                w[i].n_left = &left;
                assert_true(names_wait(names, &w[i].wait, i < 3 ? 0 : UNKNOWN + i, on_done, &w[i]));
        }
        run_until_done();
        for (unsigned i = 0; i < 5; i++)
                assert_int_equal(w[i].n_calls, 1);
}

static void who_no_longer_waits_is_not_told(void **state) {
        unsigned left = 1;
        Wait cancelled = {}, other = { .n_left = &left };

        assert_true(names_wait(names, &cancelled.wait, 0, on_done, &cancelled));
        assert_true(names_wait(names, &other.wait, 0, on_done, &other));
        names_wait_cancel(&cancelled.wait);
        names_wait_cancel(&cancelled.wait); /* idle */
        run_until_done();
        assert_int_equal(cancelled.n_calls, 0);
        assert_int_equal(other.n_calls, 1);
}

static Wait *to_cancel;

static void on_done_cancel_other(NameWait *wait, void *userdata) {
        names_wait_cancel(&to_cancel->wait);
        on_done(wait, userdata);
}

static void who_is_told_may_keep_another_from_being_told(void **state) {
        unsigned left = 1;
        Wait first = { .n_left = &left }, second = { .n_left = &left };

        to_cancel = &second;
        assert_true(names_wait(names, &first.wait, 0, on_done_cancel_other, &first));
        assert_true(names_wait(names, &second.wait, 0, on_done, &second));
        run_until_done();
        assert_int_equal(first.n_calls, 1);
        assert_int_equal(second.n_calls, 0);
}

static void on_done_ask_again(NameWait *wait, void *userdata) {
        Wait *w = userdata;

        if (!w->again) {
                w->again = true;
                assert_false(names_wait(names, wait, 0, on_done_ask_again, w)); /* it is known now */
                assert_true(names_wait(names, wait, UNKNOWN + 7, on_done_ask_again, w));
                return;
        }
        on_done(wait, userdata);
}

static void who_is_told_may_ask_again(void **state) {
        unsigned left = 1;
        Wait w = { .n_left = &left };

        assert_true(names_wait(names, &w.wait, 0, on_done_ask_again, &w));
        run_until_done();
        assert_int_equal(w.n_calls, 1);
}

static void many_users_are_forgotten_but_nobody_waits_in_vain(void **state) {
        static Wait w[MANY];
        unsigned left = MANY;

        memset(w, 0, sizeof(w));
        for (unsigned i = 0; i < MANY; i++) {
                w[i].n_left = &left;
                assert_true(names_wait(names, &w[i].wait, UNKNOWN + i, on_done, &w[i]));
        }
        run_until_done();
        for (unsigned i = 0; i < MANY; i++)
                assert_int_equal(w[i].n_calls, 1);
        assert_string_equal(look_up(0), "root");
}

static void questions_may_be_open_at_the_end(void **state) {
        for (unsigned i = 0; i < 100; i++)
                (void)names_get(names, UNKNOWN + i); /* leave() waits for the thread */
}

int main(void) {
#define with_names(test) cmocka_unit_test_setup_teardown(test, enter, leave)
        static const struct CMUnitTest tests[] = {
                with_names(a_known_user_has_a_name),
                with_names(an_unknown_user_has_none),
                with_names(what_is_known_is_not_waited_for),
                with_names(a_first_question_is_never_answered_on_the_spot),
                with_names(all_who_wait_for_one_answer_are_told),
                with_names(who_no_longer_waits_is_not_told),
                with_names(who_is_told_may_keep_another_from_being_told),
                with_names(who_is_told_may_ask_again),
                with_names(many_users_are_forgotten_but_nobody_waits_in_vain),
                with_names(questions_may_be_open_at_the_end),
        };

        return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
