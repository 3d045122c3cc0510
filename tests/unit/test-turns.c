/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include "daemon/turns.h"

static Client client(uid_t uid) {
        return (Client){ .peer = { .uid = uid } };
}

static Client *take(Turns *t) {
        Client *c = turns_next(t);

        if (c)
                turns_leave(t, c);
        return c;
}

static void calls_of_one_user_are_served_in_their_order(void **state) {
        Client c[3] = { client(1), client(1), client(1) };
        Turns t;

        turns_init(&t);
        assert_null(turns_next(&t));
        for (unsigned i = 0; i < 3; i++)
                turns_join(&t, &c[i]);
        for (unsigned i = 0; i < 3; i++)
                assert_ptr_equal(take(&t), &c[i]);
        assert_null(take(&t));
}

static void a_crowd_of_one_users_calls_is_no_queue_before_anothers(void **state) {
        Client crowd[4] = { client(1), client(1), client(1), client(1) }, other = client(0);
        Turns t;

        turns_init(&t);
        for (unsigned i = 0; i < 4; i++)
                turns_join(&t, &crowd[i]);
        assert_ptr_equal(take(&t), &crowd[0]);
        turns_join(&t, &crowd[0]);
        turns_join(&t, &other);
        assert_ptr_equal(take(&t), &other);
        turns_join(&t, &other);
        assert_ptr_equal(take(&t), &crowd[1]);
        assert_ptr_equal(take(&t), &other);
        assert_ptr_equal(take(&t), &crowd[2]);
        assert_ptr_equal(take(&t), &crowd[3]);
        assert_ptr_equal(take(&t), &crowd[0]);
        assert_null(take(&t));
}

static void whose_turn_it_is_stays_so_until_somebody_leaves(void **state) {
        Client a = client(1), b = client(1);
        Turns t;

        turns_init(&t);
        turns_join(&t, &a);
        assert_ptr_equal(turns_next(&t), &a);
        turns_join(&t, &b);
        assert_ptr_equal(turns_next(&t), &a);
        turns_leave(&t, &a);
        turns_leave(&t, &a);
        assert_false(a.waiting);
        assert_ptr_equal(turns_next(&t), &b);
        turns_leave(&t, &b);
        assert_null(turns_next(&t));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(calls_of_one_user_are_served_in_their_order),
                cmocka_unit_test(a_crowd_of_one_users_calls_is_no_queue_before_anothers),
                cmocka_unit_test(whose_turn_it_is_stays_so_until_somebody_leaves),
        };

        return cmocka_run_group_tests_name("turns", tests, NULL, NULL);
}
