/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/peer.h"
#include "lib/cleanup.h"

static bool is_even(gid_t group, const void *userdata) {
        assert_ptr_equal(userdata, &is_even);
        return group % 2 == 0;
}

static void credentials_are_the_kernel_s(void **state) {
        int pair[2];
        Peer peer;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(peer_read(pair[0], &peer), 0);
        assert_int_equal(peer.pid, getpid());
        assert_int_equal(peer.uid, geteuid());
        assert_int_equal(peer.gid, getegid());
        fd_close(pair[0]);
        fd_close(pair[1]);
        assert_int_equal(peer_read(-1, &peer), -EBADF);
}

static unsigned own_id(const char *path) {
        FILE *file = fopen(path, "re");
        unsigned id = PROC_AUDIT_UNSET;

        assert_non_null(file);
        assert_int_equal(fscanf(file, "%u", &id), 1);
        (void)fclose(file);
        return id;
}

static void a_process_that_lives_tells_where_it_comes_from(void **state) {
        RecordOrigin origin;
        int pair[2];
        Peer peer;

        assert_int_equal(prctl(PR_SET_NAME, "a \033 name"), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(peer_read(pair[0], &peer), 0);
        origin = peer_origin(&peer);
        assert_string_equal(origin.comm, "a \\x1b name");
        assert_int_equal(origin.login_uid, own_id("/proc/self/loginuid"));
        assert_int_equal(origin.audit_session, own_id("/proc/self/sessionid"));
        assert_null(origin.command);
        fd_close(pair[0]);
        fd_close(pair[1]);
}

/* Takes a connection that a child made, who has ended since. */
static int connection_of_the_dead(void) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        socklen_t n = sizeof(sa_family_t);
        _cleanup_fd_ int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int status;
        pid_t pid;

        assert_int_equal(bind(listener, (const struct sockaddr *)&sa, n), 0); /* a name of the kernel's choice */
        n = sizeof(sa);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &n), 0);
        assert_int_equal(listen(listener, 1), 0);
        pid = fork();
        if (pid == 0)
                _exit(connect(socket(AF_UNIX, SOCK_STREAM, 0), (const struct sockaddr *)&sa, n) == 0 ? 0 : 1);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

/* Its pid may be another's by now. */
static void of_a_process_that_is_gone_nothing_is_told(void **state) {
        _cleanup_fd_ int fd = connection_of_the_dead();
        RecordOrigin origin;
        Peer peer;

        assert_int_equal(peer_read(fd, &peer), 0);
        assert_true(peer.pid > 0 && peer.pid != getpid());
        assert_int_equal(peer.uid, geteuid());
        origin = peer_origin(&peer);
        assert_int_equal(origin.login_uid, RECORD_ID_UNSET);
        assert_int_equal(origin.audit_session, RECORD_ID_UNSET);
        assert_null(origin.comm);
        assert_null(origin.tty);
}

/* Groups of the peer, of which the even ones are asked for. */
static void assert_kept(const gid_t *groups, size_t n_groups, gid_t gid, const gid_t *kept, size_t n_kept) {
        _cleanup_free_ gid_t *found = NULL;
        size_t n = 99;
        int pair[2];

        assert_int_equal(setgroups(n_groups, groups), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(setgroups(0, NULL), 0); /* what comes later does not count */
        assert_int_equal(peer_read_groups(pair[0], gid, is_even, &is_even, &found, &n), 0);
        assert_int_equal(n, n_kept);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(found[i], kept[i]);
        fd_close(pair[0]);
        fd_close(pair[1]);
}

static void wanted_groups_are_kept_once_however_many_there_are(void **state) {
        static gid_t many[65536];
        gid_t few[] = { 3, 4, 4, 5, 6, 4 };

        if (geteuid() != 0)
                skip();
        assert_kept(NULL, 0, 7, NULL, 0);
        assert_kept(NULL, 0, 8, (gid_t[]){ 8 }, 1);
        assert_kept(few, 6, 8, (gid_t[]){ 8, 4, 6 }, 3);
        assert_kept(few, 6, 4, (gid_t[]){ 4, 6 }, 2);
        for (size_t i = 0; i < 65536; i++)
                many[i] = i < 60000 ? (gid_t)(2 * i + 1) : 300000;
        assert_kept(many, 65536, 1, (gid_t[]){ 300000 }, 1);
        assert_kept(many, 64, 1, NULL, 0);
        assert_kept(many, 65, 1, NULL, 0);
}

static void what_is_no_socket_has_no_groups(void **state) {
        gid_t *groups = NULL;
        size_t n;

        assert_int_equal(peer_read_groups(-1, 0, is_even, &is_even, &groups, &n), -EBADF);
        assert_null(groups);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(credentials_are_the_kernel_s),
                cmocka_unit_test(a_process_that_lives_tells_where_it_comes_from),
                cmocka_unit_test(of_a_process_that_is_gone_nothing_is_told),
                cmocka_unit_test(wanted_groups_are_kept_once_however_many_there_are),
                cmocka_unit_test(what_is_no_socket_has_no_groups),
        };

        return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
