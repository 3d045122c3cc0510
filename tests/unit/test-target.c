/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/target.h"
#include "lib/cleanup.h"

static Target *target_of(pid_t pid, time_t made) {
        struct stat st = { .st_uid = 77, .st_ctim.tv_sec = made };
        Target *t = target_new(NULL, "/tmp", "manhole-x", &st, pid);

        assert_non_null(t);
        assert_int_equal(t->pidfd, -1);
        assert_false(t->has_process);
        assert_string_equal(t->path, "/tmp/manhole-x");
        return t;
}

/* A child with a name that its parent would not want in a log; it waits to be killed. */
static pid_t start_child(const char *comm) {
        int ready[2];
        pid_t pid;
        char c;

        assert_int_equal(pipe(ready), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (prctl(PR_SET_NAME, comm, 0, 0, 0) < 0 || write(ready[1], "x", 1) < 0)
                        _exit(1);
                for (;;)
                        (void)pause();
        }
        assert_int_equal(read(ready[0], &c, 1), 1);
        fd_close(ready[0]);
        fd_close(ready[1]);
        return pid;
}

static void end_child(pid_t pid) {
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_process_is_read_and_its_name_is_escaped(void **state) {
        pid_t pid = start_child("a\nb\x1b)");
        Target *t = target_of(pid, time(NULL));

        target_read_process(t);
        assert_true(t->has_process);
        assert_string_equal(t->comm, "a\\nb\\x1b)");
        assert_int_equal(t->ids.euid, geteuid());
        assert_true(t->start_time > 0);
        assert_non_null(strstr(t->command, "test-target"));
        target_free(t);
        end_child(pid);
}

static void a_name_that_grows_when_it_is_escaped_is_cut(void **state) {
        pid_t pid = start_child("\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n");
        Target *t = target_of(pid, time(NULL));

        target_read_process(t);
        assert_true(t->has_process);
        assert_string_equal(t->comm, "\\n\\n\\n\\n\\n\\n\xe2\x80\xa6");
        target_free(t);
        end_child(pid);
}

static void a_process_younger_than_the_file_is_another(void **state) {
        Target *t = target_of(getpid(), time(NULL) - 1000);

        target_read_process(t);
        assert_false(t->has_process);
        assert_int_equal(target_policy_object(t).uid, 77);
        target_free(t);
}

static void a_process_that_ended_is_none(void **state) {
        pid_t pid = start_child("x");
        Target *zombie = target_of(pid, time(NULL)), *gone = target_of(pid, time(NULL));
        siginfo_t info;

        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
        target_read_process(zombie);
        assert_false(zombie->has_process);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        target_read_process(gone);
        assert_false(gone->has_process);
        target_free(zombie);
        target_free(gone);
        target_free(NULL);
}

static void a_second_look_takes_no_other_process_for_the_first(void **state) {
        Target *t = target_of(getpid(), time(NULL));

        target_read_process(t);
        assert_true(t->has_process);
        t->start_time--; /* the pid was used again */
        strcpy(t->comm, "old");
        t->ids.euid = 5;
        target_read_process(t);
        assert_string_equal(t->comm, "old");
        assert_int_equal(t->ids.euid, 5);
        target_free(t);
}

static void a_second_look_sees_a_new_title(void **state) {
        Target *t = target_of(getpid(), time(NULL));

        assert_int_equal(prctl(PR_SET_NAME, "before", 0, 0, 0), 0);
        target_read_process(t);
        assert_string_equal(t->comm, "before");
        assert_int_equal(prctl(PR_SET_NAME, "after", 0, 0, 0), 0);
        target_read_process(t);
        assert_string_equal(t->comm, "after");
        target_free(t);
}

static void uids_are_read_again_of_a_process_alone(void **state) {
        Target *t = target_of(getpid(), time(NULL));

        t->ids.euid = 5;
        target_refresh_ids(t);
        assert_int_equal(t->ids.euid, 5);
        target_read_process(t);
        t->ids.euid = 5;
        target_refresh_ids(t);
        assert_int_equal(t->ids.euid, geteuid());
        target_free(t);
}

static void a_stopped_process_is_said_to_be_so(void **state) {
        pid_t pid = start_child("x");
        Target *t = target_of(pid, time(NULL));
        siginfo_t info;

        t->state = TARGET_LIVE;
        assert_string_equal(target_state_name(t), "live");
        assert_int_equal(kill(pid, SIGSTOP), 0);
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED), 0);
        target_read_process(t);
        assert_string_equal(target_state_name(t), "stopped");
        t->state = TARGET_UNTRUSTED; /* more important */
        assert_string_equal(target_state_name(t), "untrusted");
        t->state = TARGET_STALE;
        assert_string_equal(target_state_name(t), "stale");
        t->state = TARGET_UNKNOWN;
        assert_string_equal(target_state_name(t), "unknown");
        target_free(t);
        end_child(pid);
}

static void an_agent_is_known_when_its_maps_are(void **state) {
        Target *t = target_of(getpid(), 0);

        t->python.native = true;
        assert_string_equal(target_agent_name(t), "unknown");
        t->python_known = true;
        assert_string_equal(target_agent_name(t), "native");
        t->python.native = false;
        assert_string_equal(target_agent_name(t), "python");
        target_free(t);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_process_is_read_and_its_name_is_escaped),
                cmocka_unit_test(a_name_that_grows_when_it_is_escaped_is_cut),
                cmocka_unit_test(a_process_younger_than_the_file_is_another),
                cmocka_unit_test(a_process_that_ended_is_none),
                cmocka_unit_test(a_second_look_takes_no_other_process_for_the_first),
                cmocka_unit_test(a_second_look_sees_a_new_title),
                cmocka_unit_test(uids_are_read_again_of_a_process_alone),
                cmocka_unit_test(a_stopped_process_is_said_to_be_so),
                cmocka_unit_test(an_agent_is_known_when_its_maps_are),
        };

        return cmocka_run_group_tests_name("target", tests, NULL, NULL);
}
