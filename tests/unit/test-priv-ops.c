/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "daemon/priv-ops.h"
#include "daemon/procfs.h"
#include "lib/cleanup.h"
#include "tests/unit/scratch.h"

#define NOBODY 65534U

static char dead[32], busy[32], own[32], linked[32], zombie[32];
static int busy_fd, folder_fd;
static pid_t zombie_pid;

static void bind_dead(const char *path) {
        fd_close(scratch_bind(path, SOCK_STREAM));
}

/* A pid that no process has: that of one that has just been waited for. */
static pid_t spent_pid(void) {
        pid_t pid = fork();

        if (pid == 0)
                _exit(0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        return pid;
}

/* Sockets that grow old while the other tests run. */
static int enter(void **state) {
        siginfo_t info;

        if (scratch_enter(state) != 0)
                return -1;
        folder_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        zombie_pid = fork();
        if (zombie_pid == 0)
                _exit(0);
        if (waitid(P_PID, (id_t)zombie_pid, &info, WEXITED | WNOWAIT) < 0)
                return -1;
        (void)sprintf(zombie, "manhole-%d", (int)zombie_pid);
        (void)sprintf(own, "manhole-%d", (int)getpid());
        (void)sprintf(dead, "manhole-%d", (int)spent_pid());
        (void)sprintf(busy, "manhole-%d", (int)spent_pid());
        (void)sprintf(linked, "manhole-%d", (int)spent_pid());
        bind_dead(zombie);
        bind_dead(own);
        bind_dead(dead);
        bind_dead(linked);
        if (link(linked, "manhole-1") < 0)
                return -1;
        busy_fd = scratch_bind(busy, SOCK_STREAM);
        return 0;
}

static int leave(void **state) {
        fd_close(folder_fd);
        fd_close(busy_fd);
        (void)waitpid(zombie_pid, NULL, 0);
        return scratch_leave(state);
}

static int open_path(const char *path) {
        int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

        assert_true(fd >= 0);
        return fd;
}

/* Runs one request that answers without a descriptor, and leaves none. */
static int execute(const PrivRequest *request, const int *fds, unsigned n_fds) {
        unsigned before = scratch_open_fds();
        int fd = 77, r = priv_execute(request, fds, n_fds, &fd);

        assert_int_equal(fd, -1);
        assert_int_equal(scratch_open_fds(), before);
        return r;
}

static int probe(const char *path) {
        _cleanup_fd_ int fd = open_path(path);

        return execute(&(PrivRequest){ .operation = PRIV_PROBE }, &fd, 1);
}

static int connect_to(const char *path, uid_t uid, bool framed, int *ret_fd) {
        _cleanup_fd_ int fd = open_path(path);
        PrivRequest request = { .operation = PRIV_CONNECT, .uid = uid, .framed = framed };

        return priv_execute(&request, &fd, 1, ret_fd);
}

static int refused_connect(const char *path, uid_t uid) {
        unsigned before = scratch_open_fds();
        int fd = 77, r = connect_to(path, uid, true, &fd);

        assert_int_equal(fd, -1);
        assert_int_equal(scratch_open_fds(), before);
        return r;
}

static int stale_at(PrivOperation operation, int folder, const char *path, const char *name) {
        _cleanup_fd_ int fd = open_path(path);
        PrivRequest request = { .operation = operation };
        int fds[] = { folder, fd };

        (void)snprintf(request.name, sizeof(request.name), "%s", name);
        return execute(&request, fds, 2);
}

/* Looks first: what it then does is what that said. */
static int unlink_stale_at(int folder, const char *path, const char *name) {
        int r = stale_at(PRIV_CHECK_STALE, folder, path, name);

        assert_int_equal(stale_at(PRIV_UNLINK_STALE, folder, path, name), r);
        return r;
}

static int unlink_stale(const char *path) {
        return unlink_stale_at(folder_fd, path, path);
}

static bool exists(const char *path) {
        struct stat st;

        return lstat(path, &st) == 0;
}

/* Only time makes a file old: until the clock says so. */
static void wait_until_old(const char *path) {
        struct timespec now;
        struct stat st;

        assert_int_equal(lstat(path, &st), 0);
        do {
                (void)nanosleep(&(struct timespec){ .tv_nsec = 20 * 1000 * 1000 }, NULL);
                (void)clock_gettime(CLOCK_REALTIME, &now);
        } while (now.tv_sec - st.st_ctim.tv_sec < 2);
}

/* ---------------------------------------------------------------- shape */

static void an_operation_that_does_not_exist_is_refused(void **state) {
        static const uint32_t operations[] = { 0, _PRIV_OPERATION_MAX, _PRIV_OPERATION_MAX + 1, 0x7fffffff, UINT32_MAX };

        for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++)
                assert_int_equal(execute(&(PrivRequest){ .operation = operations[i] }, NULL, 0), -EOPNOTSUPP);
}

static void each_operation_wants_its_own_number_of_descriptors(void **state) {
        static const unsigned wanted[_PRIV_OPERATION_MAX] = { [PRIV_PROBE] = 1, [PRIV_CONNECT] = 1, [PRIV_UNLINK_STALE] = 2,
                                                              [PRIV_CHECK_STALE] = 2 };
        int fds[] = { folder_fd, folder_fd };

        for (uint32_t op = 1; op < _PRIV_OPERATION_MAX; op++)
                for (unsigned n = 0; n <= PRIV_FDS_MAX; n++)
                        if (n != wanted[op])
                                assert_int_equal(execute(&(PrivRequest){ .operation = op, .pid = getpid() }, fds, n), -EINVAL);
}

/* ---------------------------------------------------------------- probe */

static void what_something_has_bound_is_live(void **state) {
        _cleanup_fd_ int stream = scratch_bind("manhole-11", SOCK_STREAM);
        _cleanup_fd_ int packets = scratch_bind("manhole-12", SOCK_SEQPACKET);
        _cleanup_fd_ int early = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "manhole-13" };

        assert_int_equal(bind(early, (const struct sockaddr *)&sa, sizeof(sa)), 0);
        assert_true(stream >= 0 && packets >= 0);
        assert_int_equal(probe("manhole-11"), 0);
        assert_int_equal(probe("manhole-12"), 0);
        assert_int_equal(probe("manhole-13"), 0); /* bound, not yet listening */
}

static void a_probe_does_not_disturb_the_listener(void **state) {
        _cleanup_fd_ int listener = scratch_bind("manhole-14", SOCK_STREAM);

        assert_int_equal(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
        for (unsigned i = 0; i < 100; i++)
                assert_int_equal(probe("manhole-14"), 0);
        assert_int_equal(accept(listener, NULL, NULL), -1);
        assert_int_equal(errno, EAGAIN);
}

static void what_nobody_has_bound_any_more_is_dead(void **state) {
        bind_dead("manhole-15");
        assert_int_equal(probe("manhole-15"), -ECONNREFUSED);
}

static void a_datagram_socket_is_no_manhole(void **state) {
        _cleanup_fd_ int fd = scratch_bind("manhole-16", SOCK_DGRAM);
        char c;

        assert_int_equal(probe("manhole-16"), -EPROTOTYPE);
        assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
}

static void what_is_no_socket_by_path_is_refused(void **state) {
        _cleanup_fd_ int listener = scratch_bind("manhole-17", SOCK_STREAM), readable = -1;
        int none = -1;

        scratch_write("manhole-18", "", 0);
        assert_int_equal(symlink("manhole-17", "manhole-19"), 0);
        assert_int_equal(mkfifo("manhole-20", 0600), 0);
        assert_int_equal(probe("manhole-18"), -ENOTSOCK);
        assert_int_equal(probe("manhole-19"), -ENOTSOCK); /* the link, not what it names */
        assert_int_equal(probe("manhole-20"), -ENOTSOCK);
        assert_int_equal(probe("."), -ENOTSOCK);
        /* Descriptors that are more than a place in the file system. */
        assert_int_equal(execute(&(PrivRequest){ .operation = PRIV_PROBE }, &listener, 1), -ENOTSOCK);
        readable = open("manhole-18", O_RDONLY | O_CLOEXEC);
        assert_int_equal(execute(&(PrivRequest){ .operation = PRIV_PROBE }, &readable, 1), -ENOTSOCK);
        assert_int_equal(execute(&(PrivRequest){ .operation = PRIV_PROBE }, &none, 1), -EBADF);
}

/* -------------------------------------------------------------- connect */

static void a_connection_is_handed_back_and_says_who_it_is_and_asks_for_frames(void **state) {
        _cleanup_fd_ int listener = scratch_bind("manhole-30", SOCK_STREAM);

        for (unsigned framed = 0; framed < 2; framed++) {
                _cleanup_fd_ int fd = -1, accepted = -1;
                struct sockaddr_un peer = {};
                socklen_t n = sizeof(peer);

                assert_int_equal(connect_to("manhole-30", geteuid(), framed, &fd), 0);
                assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
                assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
                accepted = accept(listener, (struct sockaddr *)&peer, &n);
                assert_true(accepted >= 0);
                assert_int_equal(peer.sun_path[0], '\0');
                if (framed)
                        assert_memory_equal(peer.sun_path + 1, "manhole/1/broker-", 17);
                else
                        assert_memory_equal(peer.sun_path + 1, "manhole-broker/", 15);
                assert_int_equal(write(fd, "x", 1), 1);
        }
}

static void only_what_bears_a_manhole_s_name_is_connected_to(void **state) {
        static const char *const names[] = { "control", "manhole-", "manhole-x", "manhole-07", "manhole-1.sock", "xmanhole-1" };

        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
                _cleanup_fd_ int listener = scratch_bind(names[i], SOCK_STREAM);

                assert_true(listener >= 0);
                assert_int_equal(refused_connect(names[i], 0), -EINVAL);
        }
        assert_int_equal(mkdir("manhole-5", 0700), 0);
        fd_close(scratch_bind("manhole-5/control", SOCK_STREAM));
        assert_int_equal(refused_connect("manhole-5/control", 0), -EINVAL);
}

static void a_file_that_was_taken_away_has_no_name(void **state) {
        _cleanup_fd_ int listener = scratch_bind("manhole-31", SOCK_STREAM), fd = open_path("manhole-31");

        assert_true(listener >= 0);
        assert_int_equal(unlink("manhole-31"), 0);
        assert_int_equal(execute(&(PrivRequest){ .operation = PRIV_CONNECT, .uid = geteuid() }, &fd, 1), -EINVAL);
}

static void nobody_is_impersonated_but_root_and_the_owner(void **state) {
        _cleanup_fd_ int listener = scratch_bind("manhole-32", SOCK_STREAM);

        assert_true(listener >= 0);
        assert_int_equal(refused_connect("manhole-32", geteuid() + 1), -EPERM);
        assert_int_equal(refused_connect("manhole-32", geteuid() + NOBODY), -EPERM);
        assert_int_equal(refused_connect("manhole-32", (uid_t)-1), -EPERM);
        assert_int_equal(geteuid(), getuid());
}

static void a_dead_socket_and_a_full_backlog_say_so(void **state) {
        _cleanup_fd_ int listener = scratch_bind("manhole-33", SOCK_STREAM);
        int fds[64], r = 0;
        unsigned n = 0;

        bind_dead("manhole-34");
        assert_int_equal(refused_connect("manhole-34", geteuid()), -ECONNREFUSED);

        assert_int_equal(listen(listener, 1), 0);
        while (n < 64 && (r = connect_to("manhole-33", geteuid(), false, &fds[n])) == 0)
                n++;
        assert_int_equal(r, -EAGAIN);
        assert_int_equal(fds[n], -1);
        while (n > 0)
                fd_close(fds[--n]);
}

static void the_agent_sees_the_uid_that_was_asked_for(void **state) {
        _cleanup_fd_ int listener = scratch_bind("manhole-35", SOCK_STREAM);
        static const uid_t uids[] = { 0, NOBODY, 0 };

        if (geteuid() != 0) {
                print_message("# skipped: only root can connect as another user\n");
                skip();
        }
        assert_int_equal(chown("manhole-35", NOBODY, NOBODY), 0);
        for (size_t i = 0; i < 3; i++) {
                _cleanup_fd_ int fd = -1, accepted = -1;
                struct ucred cred;
                socklen_t n = sizeof(cred);

                assert_int_equal(connect_to("manhole-35", uids[i], true, &fd), 0);
                accepted = accept(listener, NULL, NULL);
                assert_int_equal(getsockopt(accepted, SOL_SOCKET, SO_PEERCRED, &cred, &n), 0);
                assert_int_equal(cred.uid, uids[i]);
                assert_int_equal(geteuid(), 0);
        }
        /* Also when it fails. */
        assert_int_equal(unlink("manhole-35"), 0);
        bind_dead("manhole-35");
        assert_int_equal(chown("manhole-35", NOBODY, NOBODY), 0);
        assert_int_equal(refused_connect("manhole-35", NOBODY), -ECONNREFUSED);
        assert_int_equal(geteuid(), 0);
}

/* ------------------------------------------------- maps and executable */

static void the_maps_of_the_process_that_is_meant_are_opened(void **state) {
        PrivRequest request = { .operation = PRIV_OPEN_MAPS, .pid = getpid() };
        _cleanup_fd_ int fd = -1;
        ProcPython python;
        ProcStat stat;
        char line[64];

        assert_int_equal(proc_read_stat(getpid(), &stat), 0);
        request.start_time = stat.start_time;
        assert_int_equal(priv_execute(&request, NULL, 0, &fd), 0);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
        assert_int_equal(read(fd, line, sizeof(line)), sizeof(line));
        assert_int_equal(proc_read_python(fd, &python), 0);
}

static void the_executable_can_be_named_and_not_be_read(void **state) {
        PrivRequest request = { .operation = PRIV_OPEN_EXECUTABLE, .pid = getpid() };
        _cleanup_free_ char *path = NULL;
        _cleanup_fd_ int fd = -1;
        char self[4096] = "";
        ProcStat stat;

        assert_int_equal(proc_read_stat(getpid(), &stat), 0);
        request.start_time = stat.start_time;
        assert_int_equal(priv_execute(&request, NULL, 0, &fd), 0);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(fd, F_GETFL) & O_PATH);
        assert_int_equal(proc_read_executable(fd, &path), 0);
        assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
        assert_string_equal(path, self);
        assert_int_equal(read(fd, self, 1), -1);
}

static void assert_opens_nothing_of_another(uint32_t operation) {
        PrivRequest request = { .operation = operation, .pid = getpid() };
        ProcStat stat;
        int r;

        assert_int_equal(proc_read_stat(getpid(), &stat), 0);
        request.start_time = stat.start_time + 1;
        assert_int_equal(execute(&request, NULL, 0), -ESRCH);
        request.start_time = 0;
        assert_int_equal(execute(&request, NULL, 0), -ESRCH);

        request.pid = spent_pid();
        r = execute(&request, NULL, 0);
        assert_true(r == -ENOENT || r == -ESRCH);
        request.pid = 0;
        assert_int_equal(execute(&request, NULL, 0), -EINVAL);
        request.pid = -1;
        assert_int_equal(execute(&request, NULL, 0), -EINVAL);
        request.pid = INT32_MIN;
        assert_int_equal(execute(&request, NULL, 0), -EINVAL);
}

static void nothing_of_another_process_of_that_pid_is_opened(void **state) {
        assert_opens_nothing_of_another(PRIV_OPEN_MAPS);
        assert_opens_nothing_of_another(PRIV_OPEN_EXECUTABLE);
}

/* ---------------------------------------------------------------- stale */

static void a_young_socket_is_not_called_dead(void **state) {
        char name[32];

        (void)snprintf(name, sizeof(name), "manhole-%d", (int)spent_pid());
        bind_dead(name);
        assert_int_equal(unlink_stale(name), -EAGAIN);
        assert_true(exists(name));
}

static void a_name_that_is_no_manhole_s_is_never_removed(void **state) {
        static const char *const names[] = { "", ".", "..", "other", "manhole-", "manhole-0", "manhole-01", "./manhole-1", "manhole-1/" };
        _cleanup_fd_ int fd = open_path(dead);
        PrivRequest request = { .operation = PRIV_UNLINK_STALE };
        int fds[] = { folder_fd, fd };

        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
                assert_int_equal(unlink_stale_at(folder_fd, dead, names[i]), -EINVAL);
        memset(request.name, '1', sizeof(request.name)); /* without an end */
        memcpy(request.name, "manhole-", 8);
        assert_int_equal(execute(&request, fds, 2), -EINVAL);
        assert_true(exists(dead));
}

static void what_is_no_socket_is_never_removed(void **state) {
        scratch_write("manhole-40", "", 0);
        assert_int_equal(symlink(dead, "manhole-41"), 0);
        assert_int_equal(unlink_stale("manhole-40"), -ENOTSOCK);
        assert_int_equal(unlink_stale("manhole-41"), -ENOTSOCK);
        assert_true(exists("manhole-40") && exists("manhole-41"));
}

static void what_somebody_serves_is_never_removed(void **state) {
        wait_until_old(busy);
        assert_int_equal(unlink_stale(busy), -EBUSY);
        assert_true(exists(busy));
}

static void what_is_named_after_a_living_process_is_never_removed(void **state) {
        wait_until_old(own);
        assert_int_equal(unlink_stale(own), -EBUSY);
        assert_true(exists(own));
}

static void another_file_of_that_name_is_never_removed(void **state) {
        _cleanup_fd_ int file = open("manhole-40", O_RDONLY | O_CLOEXEC);

        wait_until_old(dead);
        assert_int_equal(unlink_stale_at(folder_fd, dead, busy), -ESTALE);
        assert_int_equal(unlink_stale_at(folder_fd, dead, zombie), -ESTALE);
        assert_true(exists(busy) && exists(zombie) && exists(dead));
        /* The name in another folder, or in none. */
        assert_int_equal(mkdir("empty", 0700), 0);
        {
                _cleanup_fd_ int empty = open("empty", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                assert_int_equal(unlink_stale_at(empty, dead, dead), -ENOENT);
        }
        assert_int_equal(unlink_stale_at(file, dead, dead), -ENOTDIR);
        /* A link of that name is not followed. */
        {
                _cleanup_fd_ int links = -1;

                assert_int_equal(mkdir("links", 0700), 0);
                links = open("links", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                assert_int_equal(symlinkat(dead, links, dead), 0);
                assert_int_equal(unlink_stale_at(links, dead, dead), -ESTALE);
        }
        assert_true(exists(dead));
}

static void the_socket_of_a_dead_process_is_removed(void **state) {
        wait_until_old(dead);
        assert_int_equal(unlink_stale(dead), 0);
        assert_false(exists(dead));
        wait_until_old(zombie); /* one that nobody has waited for yet is as dead */
        assert_int_equal(unlink_stale(zombie), 0);
        assert_false(exists(zombie));
}

static void a_dead_socket_with_two_names_loses_the_one_that_is_meant(void **state) {
        wait_until_old(linked);
        assert_int_equal(unlink_stale(linked), 0);
        assert_false(exists(linked));
        assert_true(exists("manhole-1"));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_operation_that_does_not_exist_is_refused),
                cmocka_unit_test(each_operation_wants_its_own_number_of_descriptors),
                cmocka_unit_test(what_something_has_bound_is_live),
                cmocka_unit_test(a_probe_does_not_disturb_the_listener),
                cmocka_unit_test(what_nobody_has_bound_any_more_is_dead),
                cmocka_unit_test(a_datagram_socket_is_no_manhole),
                cmocka_unit_test(what_is_no_socket_by_path_is_refused),
                cmocka_unit_test(a_connection_is_handed_back_and_says_who_it_is_and_asks_for_frames),
                cmocka_unit_test(only_what_bears_a_manhole_s_name_is_connected_to),
                cmocka_unit_test(a_file_that_was_taken_away_has_no_name),
                cmocka_unit_test(nobody_is_impersonated_but_root_and_the_owner),
                cmocka_unit_test(a_dead_socket_and_a_full_backlog_say_so),
                cmocka_unit_test(the_agent_sees_the_uid_that_was_asked_for),
                cmocka_unit_test(the_maps_of_the_process_that_is_meant_are_opened),
                cmocka_unit_test(the_executable_can_be_named_and_not_be_read),
                cmocka_unit_test(nothing_of_another_process_of_that_pid_is_opened),
                cmocka_unit_test(a_young_socket_is_not_called_dead),
                cmocka_unit_test(a_name_that_is_no_manhole_s_is_never_removed),
                cmocka_unit_test(what_is_no_socket_is_never_removed),
                cmocka_unit_test(what_somebody_serves_is_never_removed),
                cmocka_unit_test(what_is_named_after_a_living_process_is_never_removed),
                cmocka_unit_test(another_file_of_that_name_is_never_removed),
                cmocka_unit_test(the_socket_of_a_dead_process_is_removed),
                cmocka_unit_test(a_dead_socket_with_two_names_loses_the_one_that_is_meant),
        };

        return cmocka_run_group_tests_name("priv-ops", tests, enter, leave);
}
