/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/retention.h"
#include "lib/cleanup.h"
#include "tests/unit/scratch.h"
#include "tests/unit/threads.h"

#define DAY 86400LL
#define DAY_USEC (86400ULL * 1000000U)

/* A file of so many bytes, written so many days ago. */
static void make(const char *name, size_t n, unsigned days) {
        struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = time(NULL) - days * DAY - 60 } };
        _cleanup_fd_ int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)n), 0);
        assert_int_equal(futimens(fd, times), 0);
}

static bool is_there(const char *name) {
        struct stat st;

        return lstat(name, &st) == 0;
}

static void apply(RetentionLimits limits) {
        _cleanup_fd_ int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        assert_int_equal(retention_apply(folder, limits), 0);
}

static void what_is_too_old_goes(void **state) {
        make("0000000000000001.cast", 10, 3);
        make("0000000000000002.cast", 10, 2);
        make("0000000000000003.cast", 10, 1);
        make("events-1700000000000000.jsonl", 10, 3);
        apply((RetentionLimits){});
        assert_true(is_there("0000000000000001.cast"));
        apply((RetentionLimits){ .usec = 2 * DAY_USEC });
        assert_false(is_there("0000000000000001.cast"));
        assert_false(is_there("0000000000000002.cast"));
        assert_true(is_there("0000000000000003.cast"));
        assert_false(is_there("events-1700000000000000.jsonl"));
        assert_int_equal(unlink("0000000000000003.cast"), 0);
}

static void when_all_are_too_large_the_oldest_go(void **state) {
        make("000000000000000a.cast", 100, 1);
        make("000000000000000b.cast", 100, 3);
        make("000000000000000c.cast", 100, 2);
        apply((RetentionLimits){ .bytes = 300 });
        assert_true(is_there("000000000000000b.cast"));
        apply((RetentionLimits){ .bytes = 299 });
        assert_false(is_there("000000000000000b.cast"));
        assert_true(is_there("000000000000000c.cast"));
        apply((RetentionLimits){ .bytes = 1 });
        assert_false(is_there("000000000000000a.cast"));
        assert_false(is_there("000000000000000c.cast"));
}

static void a_session_that_goes_on_stays(void **state) {
        int fd;

        make("0000000000000010.cast", 100, 9);
        make("0000000000000011.cast", 100, 9);
        fd = open("0000000000000010.cast", O_WRONLY | O_CLOEXEC);
        retention_hold(fd);
        apply((RetentionLimits){ .usec = DAY_USEC, .bytes = 1 });
        assert_true(is_there("0000000000000010.cast"));
        assert_false(is_there("0000000000000011.cast"));
        fd_close(fd);
        apply((RetentionLimits){ .usec = DAY_USEC });
        assert_false(is_there("0000000000000010.cast"));
}

static void nothing_else_is_touched(void **state) {
        static const char *const names[] = { "events.jsonl", "notes.cast",     "0000000000000001.cast.bak",
                                             "0.txt",        "events-x.jsonl", "events-1.json" };

        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
                make(names[i], 100, 9);
        make("kept", 100, 9);
        assert_int_equal(symlink("kept", "0000000000000020.cast"), 0);
        assert_int_equal(mkdir("0000000000000021.cast", 0700), 0);
        assert_int_equal(mkfifo("0000000000000022.cast", 0600), 0);
        apply((RetentionLimits){ .usec = 1, .bytes = 1 });
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
                if (!is_there(names[i]))
                        fail_msg("%s is gone", names[i]);
        assert_true(is_there("kept") && is_there("0000000000000020.cast"));
        assert_true(is_there("0000000000000021.cast") && is_there("0000000000000022.cast"));
}

static void a_thread_does_it_as_well(void **state) {
        _cleanup_fd_ int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        make("0000000000000030.cast", 100, 9);
        retention_apply_later(folder, (RetentionLimits){ .usec = DAY_USEC });
        assert_int_equal(threads_wait_for_last(), 0);
        assert_false(is_there("0000000000000030.cast"));
}

static void what_is_no_folder_is_said_so(void **state) {
        assert_int_equal(retention_apply(-1, (RetentionLimits){ .usec = 1 }), -EBADF);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_too_old_goes),
                cmocka_unit_test(when_all_are_too_large_the_oldest_go),
                cmocka_unit_test(a_session_that_goes_on_stays),
                cmocka_unit_test(nothing_else_is_touched),
                cmocka_unit_test(a_thread_does_it_as_well),
                cmocka_unit_test(what_is_no_folder_is_said_so),
        };

        return cmocka_run_group_tests_name("retention", tests, scratch_enter, scratch_leave);
}
