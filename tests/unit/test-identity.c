/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>
#include <sys/wait.h>

#include "daemon/identity.h"
#include "lib/cleanup.h"
#include "lib/fd.h"
#include "tests/unit/scratch.h"

#define NOBODY 65534U

/* A target as it is found, and what ends its process: any descriptor that becomes readable will do. */
typedef struct Found {
        Target target;
        int ends;
} Found;

static Found found(pid_t pid) {
        Found f = { .target = { .pid = pid, .has_process = true } };
        int fds[2];

        assert_int_equal(proc_read_status(pid, &f.target.ids), 0);
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        f.target.pidfd = fds[0];
        f.ends = fds[1];
        return f;
}

static void found_done(Found *f) {
        fd_close(f->target.pidfd);
        fd_close(f->ends);
}

static int check(const char *path, const Target *t) {
        _cleanup_fd_ int fd = -1;

        assert_int_equal(fd_connect_unix(path, &fd), 0);
        return identity_check(fd, t, &t->ids);
}

static void the_process_itself_is_who_it_should_be(void **state) {
        _cleanup_fd_ int listener = scratch_bind("own", SOCK_STREAM);
        Found f = found(getpid());

        assert_true(listener >= 0);
        assert_int_equal(check("own", &f.target), 0);
        found_done(&f);
}

/* A child that listens, and then becomes @uid; *ret_go ends it. */
static pid_t start_listener(const char *path, uid_t uid, int *ret_go) {
        int ready[2], go[2];
        pid_t pid;
        char c;

        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        assert_int_equal(pipe2(go, O_CLOEXEC), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                fd_close(go[1]);
                (void)scratch_bind(path, SOCK_STREAM);
                if (uid != geteuid() && setresuid(uid, uid, uid) < 0)
                        _exit(1);
                _exit(write(ready[1], "x", 1) < 0 || read(go[0], &c, 1) < 0);
        }
        fd_close(ready[1]);
        fd_close(go[0]);
        assert_int_equal(read(ready[0], &c, 1), 1);
        fd_close(ready[0]);
        *ret_go = go[1];
        return pid;
}

static void end_listener(pid_t pid, int go) {
        fd_close(go);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void another_process_behind_the_name_is_found_out(void **state) {
        Found f = found(getpid());
        int go;
        pid_t pid = start_listener("other", geteuid(), &go);

        assert_int_equal(check("other", &f.target), IDENTITY_E_OTHER_PROCESS);
        f.target.pid = pid;
        assert_int_equal(check("other", &f.target), 0);
        end_listener(pid, go);
        found_done(&f);
}

static void a_process_that_ended_is_nobody(void **state) {
        _cleanup_fd_ int listener = scratch_bind("ended", SOCK_STREAM);
        Found f = found(getpid());

        assert_true(listener >= 0);
        f.ends = fd_close(f.ends);
        assert_int_equal(check("ended", &f.target), IDENTITY_E_GONE);
        found_done(&f);

        f = found(getpid());
        f.target.has_process = false;
        assert_int_equal(check("ended", &f.target), IDENTITY_E_GONE);
        found_done(&f);

        f = found(getpid());
        f.target.pidfd = fd_close(f.target.pidfd);
        assert_int_equal(check("ended", &f.target), IDENTITY_E_GONE);
        found_done(&f);
}

static void uids_that_changed_since_they_were_judged_are_found_out(void **state) {
        _cleanup_fd_ int listener = scratch_bind("changed", SOCK_STREAM);
        Found f = found(getpid());

        assert_true(listener >= 0);
        f.target.ids.ruid++;
        assert_int_equal(check("changed", &f.target), IDENTITY_E_CHANGED);
        f.target.ids.ruid--, f.target.ids.euid++;
        assert_int_equal(check("changed", &f.target), IDENTITY_E_CHANGED);
        f.target.ids.euid--, f.target.ids.suid++;
        assert_int_equal(check("changed", &f.target), IDENTITY_E_CHANGED);
        f.target.ids.suid--;
        assert_int_equal(check("changed", &f.target), 0);
        found_done(&f);
}

static void listen_as(const char *path, uid_t uid, int *ret_listener) {
        assert_int_equal(seteuid(uid), 0);
        *ret_listener = scratch_bind(path, SOCK_STREAM);
        assert_int_equal(seteuid(0), 0);
}

static void a_listener_of_another_user_is_found_out(void **state) {
        _cleanup_fd_ int listener = -1;
        Found f = found(getpid());

        if (geteuid() != 0) {
                print_message("# skipped: only root can listen as another user\n");
                found_done(&f);
                skip();
        }
        assert_int_equal(chmod(".", 0777), 0);
        listen_as("nobody's", NOBODY, &listener);
        assert_int_equal(check("nobody's", &f.target), IDENTITY_E_OTHER_USER);
        found_done(&f);
}

static void one_that_listened_as_root_and_became_another_is_still_itself(void **state) {
        pid_t pid;
        Found f;
        int go;

        if (geteuid() != 0) {
                print_message("# skipped: only root can become another user\n");
                skip();
        }
        pid = start_listener("dropped", NOBODY, &go);
        f = found(pid);
        assert_int_equal(f.target.ids.ruid, NOBODY);
        assert_int_equal(f.target.ids.suid, NOBODY);
        assert_int_equal(check("dropped", &f.target), 0);
        end_listener(pid, go);
        found_done(&f);
}

static void what_is_no_socket_has_nobody_behind_it(void **state) {
        Found f = found(getpid());

        assert_int_equal(identity_check(f.ends, &f.target, &f.target.ids), -ENOTSOCK);
        assert_int_equal(identity_check(-1, &f.target, &f.target.ids), -EBADF);
        found_done(&f);
}

static void every_verdict_has_its_own_words(void **state) {
        for (int a = -EBADF; a <= IDENTITY_E_GONE; a++)
                assert_true(*identity_reason(a));
        for (int a = 1; a <= IDENTITY_E_GONE; a++)
                for (int b = 1; b < a; b++)
                        assert_string_not_equal(identity_reason(a), identity_reason(b));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_process_itself_is_who_it_should_be),
                cmocka_unit_test(another_process_behind_the_name_is_found_out),
                cmocka_unit_test(a_process_that_ended_is_nobody),
                cmocka_unit_test(uids_that_changed_since_they_were_judged_are_found_out),
                cmocka_unit_test(a_listener_of_another_user_is_found_out),
                cmocka_unit_test(one_that_listened_as_root_and_became_another_is_still_itself),
                cmocka_unit_test(what_is_no_socket_has_nobody_behind_it),
                cmocka_unit_test(every_verdict_has_its_own_words),
        };

        return cmocka_run_group_tests_name("identity", tests, scratch_enter, scratch_leave);
}
