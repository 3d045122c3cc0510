/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#include "agent/inbox.h"
#include "lib/console.h"

static void put(Inbox *i, const char *text) {
        assert_int_equal(inbox_put(i, text, strlen(text)), 0);
}

static void assert_line(Inbox *i, const char *expected) {
        char *line = NULL;
        size_t n = 0;

        assert_int_equal(inbox_take_line(i, &line, &n), 0);
        assert_int_equal(n, strlen(expected));
        assert_memory_equal(line, expected, n);
        free(line);
}

static void assert_nothing(Inbox *i, int why) {
        char *line;
        size_t n;

        assert_int_equal(inbox_take_line(i, &line, &n), why);
}

static void lines_come_out_in_whatever_pieces_they_came_in(void **state) {
        Inbox i = {};

        assert_nothing(&i, INBOX_E_EMPTY);
        put(&i, "o");
        assert_nothing(&i, INBOX_E_EMPTY);
        put(&i, "ne\ntwo\n\nthr");
        assert_line(&i, "one\n");
        assert_line(&i, "two\n");
        assert_line(&i, "\n");
        assert_nothing(&i, INBOX_E_EMPTY);
        put(&i, "ee\n");
        assert_line(&i, "three\n");
        inbox_done(&i);
}

static void closing_leaves_what_is_there_and_ends_for_good(void **state) {
        Inbox i = {};

        put(&i, "one\nrest");
        inbox_close(&i);
        put(&i, "late");
        assert_line(&i, "one\n");
        assert_line(&i, "rest");
        assert_nothing(&i, INBOX_E_END);
        assert_nothing(&i, INBOX_E_END);
        inbox_done(&i);
}

static void an_end_is_read_once_and_at_its_place(void **state) {
        Inbox i = {};

        put(&i, "a");
        inbox_put_end(&i);
        inbox_put_end(&i);
        put(&i, "b\n");
        inbox_put_end(&i);
        assert_line(&i, "a");
        assert_nothing(&i, INBOX_E_END);
        assert_nothing(&i, INBOX_E_END);
        assert_line(&i, "b\n");
        assert_nothing(&i, INBOX_E_END);
        assert_nothing(&i, INBOX_E_EMPTY);
        inbox_done(&i);
}

static void clearing_forgets_lines_and_ends(void **state) {
        Inbox i = {};

        put(&i, "a\nb");
        inbox_put_end(&i);
        inbox_clear(&i);
        assert_nothing(&i, INBOX_E_EMPTY);
        put(&i, "c\n");
        assert_line(&i, "c\n");
        inbox_done(&i);
}

static void more_than_the_read_ahead_is_refused(void **state) {
        static char block[65536];
        Inbox i = {};

        memset(block, 'x', sizeof(block));
        for (size_t n = 0; n < CONSOLE_READ_AHEAD_MAX; n += sizeof(block))
                assert_int_equal(inbox_put(&i, block, sizeof(block)), 0);
        assert_int_equal(inbox_put(&i, "y", 1), -ENOBUFS);
        inbox_clear(&i);
        assert_int_equal(i.n_allocated, 0);
        put(&i, "z\n");
        assert_line(&i, "z\n");
        inbox_done(&i);
}

static void ends_without_number_are_bounded(void **state) {
        Inbox i = {};

        for (unsigned n = 0; n < 1000; n++)
                inbox_put_end(&i);
        for (unsigned n = 0; n < INBOX_ENDS_MAX; n++)
                assert_nothing(&i, INBOX_E_END);
        assert_nothing(&i, INBOX_E_EMPTY);
        inbox_done(&i);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lines_come_out_in_whatever_pieces_they_came_in),
                cmocka_unit_test(closing_leaves_what_is_there_and_ends_for_good),
                cmocka_unit_test(an_end_is_read_once_and_at_its_place),
                cmocka_unit_test(clearing_forgets_lines_and_ends),
                cmocka_unit_test(more_than_the_read_ahead_is_refused),
                cmocka_unit_test(ends_without_number_are_bounded),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
