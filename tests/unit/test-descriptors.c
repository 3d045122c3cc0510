/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>
#include <sys/resource.h>

#include "daemon/descriptors.h"
#include "lib/cleanup.h"
#include "tests/unit/scratch.h"

static void limit(rlim_t n) {
        struct rlimit limit;

        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        limit.rlim_cur = n;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* The lowest limit under which nothing more can be opened. */
static rlim_t used_up(void) {
        int fd = dup(0);

        assert_true(fd >= 0);
        fd_close(fd);
        return (rlim_t)fd;
}

static void as_many_as_are_left_can_be_had_and_no_more(void **state) {
        rlim_t none = used_up();

        for (unsigned left = 0; left < DESCRIPTORS_FOR_CLIENTS; left++) {
                limit(none + left);
                for (unsigned n = 0; n <= DESCRIPTORS_FOR_CLIENTS; n++)
                        assert_int_equal(descriptors_are_left(0, n), n <= left);
        }
        limit(256);
}

static void a_look_leaves_everything_as_it_was(void **state) {
        unsigned before = scratch_open_fds();
        rlim_t none = used_up();

        assert_true(descriptors_are_left(0, DESCRIPTORS_FOR_CLIENTS));
        assert_int_equal(scratch_open_fds(), before);
        limit(none + 3);
        assert_false(descriptors_are_left(0, DESCRIPTORS_FOR_CLIENTS));
        limit(256);
        assert_int_equal(scratch_open_fds(), before);
        assert_int_equal(used_up(), none);
}

static void the_soft_limit_is_raised_to_the_hard_one(void **state) {
        struct rlimit now;

        limit(64);
        descriptors_raise_limit();
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
        assert_true(now.rlim_cur == now.rlim_max);
        limit(256);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(as_many_as_are_left_can_be_had_and_no_more),
                cmocka_unit_test(a_look_leaves_everything_as_it_was),
                cmocka_unit_test(the_soft_limit_is_raised_to_the_hard_one),
        };

        /* Without gaps: what a shell has left open here counts as well. */
        for (int fd = 3; fd < 1024; fd++)
                (void)close(fd);
        limit(256);
        return cmocka_run_group_tests_name("descriptors", tests, NULL, NULL);
}
