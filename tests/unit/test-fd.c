/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "lib/cleanup.h"
#include "lib/console.h"
#include "lib/fd.h"
#include "tests/unit/scratch.h"

static bool is_cloexec(int fd) {
        return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

static void a_file_of_exactly_the_cap_is_read_and_one_more_byte_is_not(void **state) {
        char *text = NULL;
        size_t n = 7;

        scratch_write("five", "12345", 5);
        assert_int_equal(fd_read_file(AT_FDCWD, "five", 4, &text, &n), -EFBIG);
        assert_null(text);
        assert_int_equal(n, 7);
        assert_int_equal(fd_read_file(AT_FDCWD, "five", 5, &text, &n), 0);
        assert_int_equal(n, 5);
        assert_string_equal(text, "12345");
        free(text);
}

static void files_of_every_size_around_a_buffer_are_read_whole(void **state) {
        static const size_t sizes[] = { 0, 1, 1022, 1023, 1024, 1025, 2047, 2048, 70000 };
        static char data[70000];

        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (char)(i * 31); /* NULs among them */
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
                char *text = NULL;
                size_t n = 0;

                scratch_write("sized", data, sizes[i]);
                assert_int_equal(fd_read_file(AT_FDCWD, "sized", sizeof(data), &text, &n), 0);
                assert_int_equal(n, sizes[i]);
                assert_memory_equal(text, data, n);
                assert_int_equal(text[n], '\0');
                free(text);
        }
}

static void what_cannot_be_read_says_why_and_leaves_no_descriptor(void **state) {
        _cleanup_fd_ int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        unsigned before = scratch_open_fds();
        char *text = NULL;

        assert_int_equal(fd_read_file(dir, "missing", 10, &text, NULL), -ENOENT);
        assert_int_equal(fd_read_file(dir, ".", 10, &text, NULL), -EISDIR);
        assert_int_equal(symlink("loop", "loop"), 0);
        assert_int_equal(fd_read_file(dir, "loop", 10, &text, NULL), -ELOOP);
        assert_null(text);
        assert_int_equal(scratch_open_fds(), before);
}

static void a_fifo_that_nobody_writes_does_not_hold_the_reader(void **state) {
        char *text = NULL;
        size_t n = 7;

        assert_int_equal(mkfifo("fifo", 0600), 0);
        assert_int_equal(fd_read_file(AT_FDCWD, "fifo", 10, &text, &n), 0);
        assert_int_equal(n, 0);
        free(text);
}

static void an_endless_file_ends_at_the_cap(void **state) {
        char *text = NULL;

        assert_int_equal(fd_read_file(AT_FDCWD, "/dev/zero", 100000, &text, NULL), -EFBIG);
        assert_null(text);
}

static void a_socket_is_connected_to_and_closes_on_exec(void **state) {
        _cleanup_fd_ int listener = scratch_bind("listener", SOCK_STREAM), fd = -1;

        assert_true(listener >= 0);
        assert_int_equal(fd_connect_unix("listener", &fd), 0);
        assert_true(is_cloexec(fd));
}

static void a_path_that_is_no_listener_says_why_and_leaves_no_descriptor(void **state) {
        char path[200];
        unsigned before;
        int fd = -7;

        fd_close(scratch_bind("dead", SOCK_STREAM));
        scratch_write("file", "", 0);
        memset(path, 'x', sizeof(path) - 1);
        path[sizeof(path) - 1] = '\0';
        before = scratch_open_fds();
        assert_int_equal(fd_connect_unix("missing", &fd), -ENOENT);
        assert_int_equal(fd_connect_unix("dead", &fd), -ECONNREFUSED);
        assert_int_equal(fd_connect_unix("file", &fd), -ECONNREFUSED);
        assert_int_equal(fd_connect_unix(path, &fd), -ENAMETOOLONG);
        path[sizeof(((struct sockaddr_un *)0)->sun_path)] = '\0'; /* no room for its NUL */
        assert_int_equal(fd_connect_unix(path, &fd), -ENAMETOOLONG);
        path[sizeof(((struct sockaddr_un *)0)->sun_path) - 1] = '\0'; /* the longest */
        assert_int_equal(fd_connect_unix(path, &fd), -ENOENT);
        assert_int_equal(fd, -7);
        assert_int_equal(scratch_open_fds(), before);
}

static void no_path_is_no_abstract_name(void **state) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        _cleanup_fd_ int squatter = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int fd = -1;

        /* An all-NUL address is a name that anybody may bind. */
        assert_int_equal(bind(squatter, (const struct sockaddr *)&sa, sizeof(sa)), 0);
        assert_int_equal(listen(squatter, 1), 0);
        assert_int_equal(fd_connect_unix("", &fd), -ENOENT);
        assert_int_equal(fd, -1);
}

static void the_console_name_has_the_shape_of_the_protocol(void **state) {
        char names[2][sizeof(struct sockaddr_un)];

        for (unsigned i = 0; i < 2; i++) {
                _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                struct sockaddr_un sa = {};
                socklen_t n = sizeof(sa);
                char shape[32];

                assert_int_equal(fd_bind_console_name(fd), 0);
                assert_int_equal(fd_bind_console_name(fd), -EINVAL); /* it has one */
                assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
                assert_int_equal(sa.sun_path[0], '\0');
                (void)snprintf(shape, sizeof(shape), "manhole/%d/", CONSOLE_VERSION);
                assert_memory_equal(sa.sun_path + 1, shape, strlen(shape));
                /* Exactly 16 digits follow, and the name ends with them, without a NUL. */
                assert_int_equal(n, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(shape) + 16);
                memcpy(names[i], sa.sun_path + 1, strlen(shape) + 16);
                names[i][strlen(shape) + 16] = '\0';
                assert_int_equal(strspn(names[i] + strlen(shape), "0123456789abcdef"), 16);
        }
        assert_string_not_equal(names[0], names[1]);
}

static void the_brokers_name_says_so_behind_the_version_or_at_once(void **state) {
        static const char *const prefixes[] = { "manhole-broker/", "manhole/1/broker-" };

        for (unsigned framed = 0; framed < 2; framed++) {
                _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                struct sockaddr_un sa = {};
                socklen_t n = sizeof(sa);

                assert_int_equal(fd_bind_broker_name(fd, framed == 1), 0);
                assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
                assert_int_equal(n, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(prefixes[framed]) + 16);
                assert_memory_equal(sa.sun_path + 1, prefixes[framed], strlen(prefixes[framed]));
        }
}

static void non_blocking_is_set_and_taken_back_alone(void **state) {
        int fds[2];

        assert_int_equal(pipe2(fds, O_CLOEXEC | O_DIRECT), 0);
        assert_int_equal(fd_set_nonblock(fds[1], true), 0);
        assert_int_equal(fcntl(fds[1], F_GETFL) & (O_NONBLOCK | O_DIRECT), O_NONBLOCK | O_DIRECT);
        assert_int_equal(fd_set_nonblock(fds[1], false), 0);
        assert_int_equal(fcntl(fds[1], F_GETFL) & (O_NONBLOCK | O_DIRECT), O_DIRECT);
        fd_close(fds[0]);
        fd_close(fds[1]);
        assert_int_equal(fd_set_nonblock(fds[0], true), -EBADF);
}

static void *drain(void *userdata) {
        int fd = *(int *)userdata;
        size_t *total = calloc(1, sizeof(*total));
        char buffer[1000];
        ssize_t n;

        while ((n = read(fd, buffer, sizeof(buffer))) > 0)
                *total += (size_t)n;
        return total;
}

static void assert_writes_all(int from, int to) {
        static char data[1000000];
        size_t *total;
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, drain, &to), 0);
        assert_int_equal(fd_write_all(from, data, sizeof(data)), 0);
        assert_int_equal(fd_write_all(from, NULL, 0), 0);
        fd_close(from);
        assert_int_equal(pthread_join(thread, (void **)&total), 0);
        assert_int_equal(*total, sizeof(data));
        free(total);
        fd_close(to);
}

static void more_than_a_buffer_is_written_to_sockets_and_pipes(void **state) {
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_writes_all(fds[0], fds[1]);
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        assert_writes_all(fds[1], fds[0]);
}

static void a_receiver_that_left_is_an_error_and_no_signal(void **state) {
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        fd_close(fds[1]);
        assert_int_equal(fd_write_all(fds[0], "x", 1), -EPIPE);
        fd_close(fds[0]);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_file_of_exactly_the_cap_is_read_and_one_more_byte_is_not),
                cmocka_unit_test(files_of_every_size_around_a_buffer_are_read_whole),
                cmocka_unit_test(what_cannot_be_read_says_why_and_leaves_no_descriptor),
                cmocka_unit_test(a_fifo_that_nobody_writes_does_not_hold_the_reader),
                cmocka_unit_test(an_endless_file_ends_at_the_cap),
                cmocka_unit_test(a_socket_is_connected_to_and_closes_on_exec),
                cmocka_unit_test(a_path_that_is_no_listener_says_why_and_leaves_no_descriptor),
                cmocka_unit_test(no_path_is_no_abstract_name),
                cmocka_unit_test(the_console_name_has_the_shape_of_the_protocol),
                cmocka_unit_test(the_brokers_name_says_so_behind_the_version_or_at_once),
                cmocka_unit_test(non_blocking_is_set_and_taken_back_alone),
                cmocka_unit_test(more_than_a_buffer_is_written_to_sockets_and_pipes),
                cmocka_unit_test(a_receiver_that_left_is_an_error_and_no_signal),
        };

        return cmocka_run_group_tests_name("fd", tests, scratch_enter, scratch_leave);
}
