/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/hangup.h"
#include "lib/cleanup.h"
#include "lib/container.h"

/* A watched connection. */
typedef struct Line {
        Hangup hangup;
        int ours, theirs;
        unsigned n_gone;
        struct Line *cancels; /* when it is told */
} Line;

static struct event_base *loop;
static Hangups *hangups;

static int enter(void **state) {
        loop = event_base_new();
        return hangups_new(loop, &hangups);
}

static int leave(void **state) {
        hangups_free(hangups);
        hangups_free(NULL);
        event_base_free(loop);
        return 0;
}

static void on_gone(Hangup *h) {
        Line *line = container_of(h, Line, hangup);

        assert_null(h->hangups);
        line->n_gone++;
        if (line->cancels)
                hangup_cancel(&line->cancels->hangup);
}

static void line_open(Line *line) {
        int fds[2];

        *line = (Line){};
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        line->ours = fds[0];
        line->theirs = fds[1];
        assert_int_equal(hangup_watch(hangups, &line->hangup, line->ours, on_gone), 0);
}

static void line_close(Line *line) {
        hangup_cancel(&line->hangup);
        fd_close(line->ours);
        fd_close(line->theirs);
}

static void turn(void) {
        for (unsigned i = 0; i < 20; i++)
                assert_true(event_base_loop(loop, EVLOOP_NONBLOCK) >= 0);
}

static void who_leaves_is_noticed_once_without_a_read(void **state) {
        Line line;

        line_open(&line);
        turn();
        assert_int_equal(line.n_gone, 0);
        line.theirs = fd_close(line.theirs);
        turn();
        assert_int_equal(line.n_gone, 1);
        line_close(&line);
}

static void who_leaves_with_bytes_unread_is_noticed_too(void **state) {
        Line line;

        line_open(&line);
        assert_int_equal(send(line.theirs, "last", 4, MSG_NOSIGNAL), 4);
        assert_int_equal(send(line.ours, "unread", 6, MSG_NOSIGNAL), 6);
        line.theirs = fd_close(line.theirs);
        turn();
        assert_int_equal(line.n_gone, 1);
        line_close(&line);
}

static void who_has_merely_said_all_still_listens(void **state) {
        Line line;

        line_open(&line);
        assert_int_equal(send(line.theirs, "last", 4, MSG_NOSIGNAL), 4);
        assert_int_equal(shutdown(line.theirs, SHUT_WR), 0);
        turn();
        assert_int_equal(line.n_gone, 0);
        line_close(&line);
}

static void both_sides_that_have_said_all_are_over(void **state) {
        Line line;

        line_open(&line);
        assert_int_equal(shutdown(line.theirs, SHUT_WR), 0);
        assert_int_equal(shutdown(line.ours, SHUT_WR), 0);
        turn();
        assert_int_equal(line.n_gone, 1);
        line_close(&line);
}

static void who_is_no_longer_watched_is_not_told_of(void **state) {
        Line line;

        line_open(&line);
        hangup_cancel(&line.hangup);
        hangup_cancel(&line.hangup);
        line.theirs = fd_close(line.theirs);
        turn();
        assert_int_equal(line.n_gone, 0);
        line_close(&line);
}

static void who_is_told_may_cancel_another_that_left_as_well(void **state) {
        Line a, b;

        line_open(&a);
        line_open(&b);
        a.cancels = &b;
        b.cancels = &a;
        a.theirs = fd_close(a.theirs);
        b.theirs = fd_close(b.theirs);
        turn();
        assert_int_equal(a.n_gone + b.n_gone, 1);
        line_close(&a);
        line_close(&b);
}

static void many_may_leave_at_once(void **state) {
        static Line lines[200];
        unsigned n = 0;

        for (unsigned i = 0; i < 200; i++)
                line_open(&lines[i]);
        for (unsigned i = 0; i < 200; i += 2)
                lines[i].theirs = fd_close(lines[i].theirs);
        for (unsigned i = 0; i < 20; i++)
                turn();
        for (unsigned i = 0; i < 200; i++) {
                assert_int_equal(lines[i].n_gone, i % 2 == 0);
                n += lines[i].n_gone;
                line_close(&lines[i]);
        }
        assert_int_equal(n, 100);
}

static void what_cannot_be_watched_says_why_and_stays_idle(void **state) {
        Hangup h = {};
        Line line;

        assert_int_equal(hangup_watch(hangups, &h, -1, on_gone), -EBADF);
        assert_null(h.hangups);
        line_open(&line);
        assert_int_equal(hangup_watch(hangups, &h, line.ours, on_gone), -EEXIST);
        assert_null(h.hangups);
        line_close(&line);
}

int main(void) {
#define with_loop(test) cmocka_unit_test_setup_teardown(test, enter, leave)
        static const struct CMUnitTest tests[] = {
                with_loop(who_leaves_is_noticed_once_without_a_read),
                with_loop(who_leaves_with_bytes_unread_is_noticed_too),
                with_loop(who_has_merely_said_all_still_listens),
                with_loop(both_sides_that_have_said_all_are_over),
                with_loop(who_is_no_longer_watched_is_not_told_of),
                with_loop(who_is_told_may_cancel_another_that_left_as_well),
                with_loop(many_may_leave_at_once),
                with_loop(what_cannot_be_watched_says_why_and_stays_idle),
        };

        return cmocka_run_group_tests_name("hangup", tests, NULL, NULL);
}
