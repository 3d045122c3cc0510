/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/command.h"
#include "lib/cleanup.h"
#include "tests/unit/threads.h"

typedef struct Scene {
        struct event_base *loop;
        int pair[2];
        Command command;
        unsigned n_done;
} Scene;

static void on_done(Command *command, void *userdata) {
        Scene *s = userdata;

        assert_ptr_equal(command, &s->command);
        s->n_done++;
        (void)event_base_loopbreak(s->loop);
}

static int enter(void **state) {
        static Scene s;

        s = (Scene){ .loop = event_base_new() };
        assert_non_null(s.loop);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s.pair), 0);
        *state = &s;
        return 0;
}

static int leave(void **state) {
        Scene *s = *state;

        command_done(&s->command);
        command_done(&s->command);
        fd_close(s->pair[0]);
        fd_close(s->pair[1]);
        event_base_free(s->loop);
        return threads_wait_for_last();
}

static void a_command_line_is_told_once(void **state) {
        Scene *s = *state;

        assert_true(command_ask(&s->command, s->loop, s->pair[0], getpid(), on_done, s));
        (void)event_base_dispatch(s->loop);
        assert_int_equal(s->n_done, 1);
        assert_null(s->command.answer);
        assert_non_null(strstr(s->command.text, "test-command"));
        (void)event_base_loop(s->loop, EVLOOP_NONBLOCK);
        assert_int_equal(s->n_done, 1);
}

static void who_waits_no_longer_hears_nothing(void **state) {
        Scene *s = *state;

        assert_true(command_ask(&s->command, s->loop, s->pair[0], getpid(), on_done, s));
        command_cancel(&s->command);
        assert_int_equal(threads_wait_for_last(), 0);
        (void)event_base_loop(s->loop, EVLOOP_NONBLOCK);
        assert_int_equal(s->n_done, 0);
        assert_null(s->command.text);
}

static void a_process_without_a_pid_here_has_none(void **state) {
        Scene *s = *state;

        assert_false(command_ask(&s->command, s->loop, s->pair[0], 0, on_done, s));
        assert_null(s->command.answer);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(a_command_line_is_told_once, enter, leave),
                cmocka_unit_test_setup_teardown(who_waits_no_longer_hears_nothing, enter, leave),
                cmocka_unit_test_setup_teardown(a_process_without_a_pid_here_has_none, enter, leave),
        };

        (void)signal(SIGPIPE, SIG_IGN);
        return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
