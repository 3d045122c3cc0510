/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "daemon/procfs.h"
#include "lib/cleanup.h"
#include "tests/unit/scratch.h"

/* ----------------------------------------------------------------- stat */

#define STAT_REST " S 1 2 3 4 -1 6 7 8 9 10 11 12 13 14 15 16 17 0 987654321 20 21 22\n"

static void assert_comm(const char *text, const char *comm) {
        ProcStat stat = {};

        assert_int_equal(proc_parse_stat(text, &stat), 0);
        assert_string_equal(stat.comm, comm);
        assert_int_equal(stat.state, 'S');
        assert_int_equal(stat.start_time, 987654321);
}

static void the_name_of_a_process_may_hold_anything(void **state) {
        assert_comm("42 (python3)" STAT_REST, "python3");
        assert_comm("42 ()" STAT_REST, "");
        assert_comm("42 (a b)" STAT_REST, "a b");
        assert_comm("42 (a) R 1 (b)" STAT_REST, "a) R 1 (b");
        assert_comm("42 (()))" STAT_REST, "())");
        assert_comm("42 (a\nb)" STAT_REST, "a\nb");
        assert_comm("42 (\xff\x1b[m)" STAT_REST, "\xff\x1b[m");
        assert_comm("42 (0123456789abcdef0123456789)" STAT_REST, "0123456789abcdef");
}

static void a_stat_that_is_cut_short_is_no_stat(void **state) {
        static const char text[] = "42 (python3) S 1 2 3 4 -1 6 7 8 9 10 11 12 13 14 15 16 17 0 9";
        ProcStat stat = { .state = '?', .start_time = 5 };
        char cut[sizeof(text)];

        for (size_t n = 0; n + 1 < sizeof(text) - 1; n++) {
                memcpy(cut, text, n);
                cut[n] = '\0';
                assert_int_equal(proc_parse_stat(cut, &stat), -EBADMSG);
        }
        assert_int_equal(stat.state, '?');
        assert_int_equal(stat.start_time, 5);
        assert_int_equal(proc_parse_stat(")(" STAT_REST, &stat), -EBADMSG);
        assert_int_equal(proc_parse_stat("42 python3 S 1 2", &stat), -EBADMSG);
}

static void assert_tty(unsigned major, unsigned minor, const char *name) {
        char found[PROC_TTY_MAX];

        proc_tty_name((minor & 0xff) | major << 8 | (minor & ~0xffU) << 12, found);
        assert_string_equal(found, name);
}

static void a_terminal_has_a_name(void **state) {
        ProcStat stat = {};

        assert_int_equal(proc_parse_stat("42 (x) S 1 2 3 34817 -1 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21", &stat), 0);
        assert_int_equal(stat.tty, 34817);
        assert_int_equal(stat.start_time, 19);
        assert_tty(136, 1, "pts/1");
        assert_tty(136, 70000, "pts/70000");
        assert_tty(4, 1, "tty1");
        assert_tty(4, 65, "ttyS1");
        assert_tty(204, 64, "204:64");
}

/* --------------------------------------------------------------- status */

#define STATUS(uids, pids) "Name:\tpython3\nUmask:\t0022\nState:\tS (sleeping)\n" uids "Gid:\t0\t0\t0\t0\n" pids "Threads:\t1\n"

static void ids_are_read_from_their_lines(void **state) {
        ProcStatus status;

        assert_int_equal(proc_parse_status(STATUS("Uid:\t1000\t0\t33\t5\n", "NSpid:\t42\n"), &status), 0);
        assert_int_equal(status.ruid, 1000);
        assert_int_equal(status.euid, 0);
        assert_int_equal(status.suid, 33);
        assert_int_equal(status.ns_pid, 42);
        assert_false(status.ns_nested);

        assert_int_equal(proc_parse_status(STATUS("Uid:\t4294967295\t4294967294\t65534\t0\n", "NSpid:\t1\n"), &status), 0);
        assert_true(status.ruid == (uid_t)-1);
        assert_true(status.euid == (uid_t)-2);
}

static void the_last_pid_is_the_process_s_own(void **state) {
        ProcStatus status;

        assert_int_equal(proc_parse_status(STATUS("Uid:\t0\t0\t0\t0\n", "NSpid:\t4194304\t77\t1\n"), &status), 0);
        assert_int_equal(status.ns_pid, 1);
        assert_true(status.ns_nested);
        /* As the last line, with and without its end. */
        assert_int_equal(proc_parse_status("Uid:\t0\t0\t0\t0\nNSpid:\t5\t6\n", &status), 0);
        assert_int_equal(status.ns_pid, 6);
        assert_int_equal(proc_parse_status("Uid:\t0\t0\t0\t0\nNSpid:\t5\t6", &status), 0);
        assert_int_equal(status.ns_pid, 6);
        assert_true(status.ns_nested);
        assert_int_equal(proc_parse_status("NSpid: 5 \nUid: 1 2 3 4", &status), 0);
        assert_int_equal(status.ns_pid, 5);
        assert_false(status.ns_nested);
        assert_int_equal(status.suid, 3);
}

static void a_status_without_its_lines_is_no_status(void **state) {
        static const char *const texts[] = {
                "", "\n", "\n\n\n", "Uid:", "Uid:\t1\t2\n", "Uid:\t1\t2\t3\t4\n",
                "NSpid:\t5\n", STATUS("Uid:\t\n", "NSpid:\t5\n"), STATUS("Uid:\t1\t1\tx\t1\n", "NSpid:\t5\n"),
                STATUS("Uid:\t1\t1\t1\t1\n", "NSpid:\n"), STATUS("Uid:\t1\t1\t1\t1\n", "NSpid:\tx\n"),
                STATUS("Uid:\t1\t1\t1\t1\n", "XNSpid:\t5\n"), STATUS(" Uid:\t1\t1\t1\t1\n", "NSpid:\t5\n"),
        };
        ProcStatus status = { .euid = 7 };

        for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
                assert_int_equal(proc_parse_status(texts[i], &status), -EBADMSG);
        assert_int_equal(status.euid, 7);
}

static void a_name_cannot_forge_a_line(void **state) {
        ProcStatus status;

        /* The kernel writes a line end in a name as \n: proc(5). */
        assert_int_equal(proc_parse_status("Name:\tx\\nUid:\\t0\\t0\\t0\nUid:\t9\t9\t9\t9\nNSpid:\t5\n", &status), 0);
        assert_int_equal(status.euid, 9);
        /* The first line counts, and only from its beginning. */
        assert_int_equal(proc_parse_status("Name:\tUid: 0 0 0\nUid:\t9\t9\t9\t9\nUid:\t0\t0\t0\t0\nNSpid:\t5\n", &status), 0);
        assert_int_equal(status.euid, 9);
}

/* -------------------------------------------------------- user namespaces */

static void a_user_namespace_maps_what_its_map_says(void **state) {
        static const char initial[] = "         0          0 4294967295\n",
                          rootless[] = "         0       1000          1\n         1     100000      65536\n";

        assert_true(proc_parse_uid_map(initial, 0));
        assert_true(proc_parse_uid_map(initial, 0xfffffffe));
        assert_false(proc_parse_uid_map(initial, 0xffffffff));
        assert_false(proc_parse_uid_map(rootless, 0));
        assert_false(proc_parse_uid_map(rootless, 999));
        assert_true(proc_parse_uid_map(rootless, 1000));
        assert_false(proc_parse_uid_map(rootless, 1001));
        assert_false(proc_parse_uid_map(rootless, 99999));
        assert_true(proc_parse_uid_map(rootless, 100000));
        assert_true(proc_parse_uid_map(rootless, 165535));
        assert_false(proc_parse_uid_map(rootless, 165536));
        assert_false(proc_parse_uid_map("", 0));
        assert_false(proc_parse_uid_map("0 0", 0));
        assert_true(proc_parse_uid_map("1 5 1\n0 0 1", 0));
        assert_int_equal(proc_knows_root(getpid()), 1);
}

/* There the map tells how its parent sees it. */
static void root_is_known_in_a_user_namespace_of_its_own(void **state) {
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(unshare(CLONE_NEWUSER) < 0 ? 77 : proc_knows_root(getpid()) != 1);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                skip();
        assert_int_equal(status, 0);
}

/* ----------------------------------------------------------------- maps */

#define MAP(path) "7f0000000000-7f0000001000 r-xp 00000000 fe:01 1234                       " path

static ProcPython python_of(const char *line) {
        ProcPython python = {};

        proc_parse_maps_line(line, &python);
        return python;
}

static void an_interpreter_is_told_by_its_file(void **state) {
        static const struct {
                const char *line, *version;
        } maps[] = {
                { MAP("/usr/bin/python3.11"), "3.11" },
                { MAP("/usr/bin/python3.9"), "3.9" },
                { MAP("/usr/bin/python3.11\n"), "3.11" },
                { MAP("/usr/bin/python3.11 (deleted)"), "3.11" },
                { MAP("/usr/bin/python3.13t"), "3.13" },
                { MAP("/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0"), "3.11" },
                { MAP("/usr/lib/libpython3.8.so.1.0 (deleted)"), "3.8" },
                { MAP("/opt/my python (x)/bin/python3.12"), "3.12" },
                { MAP("/usr/bin/python2.7"), "2.7" },
                { MAP("/usr/bin/python3"), "" },
                { MAP("/usr/bin/python3."), "" },
                { MAP("/usr/bin/python3.x"), "" },
                { MAP("/usr/bin/python1.5"), "" },
                { MAP("/usr/bin/pythonx3.11"), "" },
                { MAP("/usr/bin/xpython3.11"), "" },
                { MAP("/usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so"), "" },
                { MAP("/"), "" },
                { MAP("/python"), "" },
                { MAP("/lib"), "" },
                { MAP("[heap]"), "" },
                { MAP(""), "" },
                { "", "" },
                { "python3.11", "" },
                { "/", "" },
        };

        for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++) {
                ProcPython python = python_of(maps[i].line);

                assert_string_equal(python.version, maps[i].version);
                assert_false(python.native);
        }
}

static void the_agent_is_told_by_its_library(void **state) {
        static const char *const agents[] = {
                MAP("/usr/lib/manhole/python/manhole/_agent.abi3.so"),
                MAP("/usr/lib/manhole/python/manhole/_agent.abi3.so\n"),
                MAP("/home/a b/manhole/_agent.abi3.so (deleted)"),
                MAP("/manhole/_agent.abi3.so"),
        };
        static const char *const others[] = {
                MAP("/manhole/_agent.abi3.s"), MAP("/manhole/_agent.so"), MAP("/notmanhole_agent.abi3.so"),
                MAP("manhole/_agent.abi3.so"), MAP("/usr/bin/python3.11\n/manhole/_agent.abi3.so"),
        };

        for (size_t i = 0; i < sizeof(agents) / sizeof(*agents); i++)
                assert_true(python_of(agents[i]).native);
        for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
                assert_false(python_of(others[i]).native);
}

static void the_first_interpreter_counts_and_nothing_is_taken_back(void **state) {
        ProcPython python = {};

        proc_parse_maps_line(MAP("/usr/bin/python3.11"), &python);
        proc_parse_maps_line(MAP("/x/manhole/_agent.abi3.so"), &python);
        proc_parse_maps_line(MAP("/usr/bin/python3.12"), &python);
        proc_parse_maps_line(MAP("/usr/lib/libc.so.6"), &python);
        assert_string_equal(python.version, "3.11");
        assert_true(python.native);
}

static ProcPython read_maps(const char *text, size_t n) {
        ProcPython python = {};
        _cleanup_fd_ int fd = -1;

        scratch_write("maps", text, n);
        fd = open("maps", O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(proc_read_python(fd, &python), 0);
        return python;
}

static void a_line_is_found_wherever_it_lies_in_the_file(void **state) {
        static const char filler[] = MAP("/usr/lib/x86_64-linux-gnu/libc.so.6") "\n";
        static const char lines[] = MAP("/usr/bin/python3.11") "\n" MAP("/x/manhole/_agent.abi3.so") "\n";
        static char text[40000];

        for (size_t before = 0; before < 300; before += 7) {
                size_t n = 0;

                for (size_t i = 0; i < before; i++) {
                        memcpy(text + n, filler, sizeof(filler) - 1);
                        n += sizeof(filler) - 1;
                }
                memcpy(text + n, lines, sizeof(lines) - 1);
                n += sizeof(lines) - 1;
                assert_true(n < sizeof(text));
                assert_string_equal(read_maps(text, n).version, "3.11");
                assert_true(read_maps(text, n).native);
                /* The last line counts only when it is whole. */
                assert_false(read_maps(text, n - 1).native);
        }
        assert_string_equal(read_maps("", 0).version, "");
}

static void a_line_longer_than_any_path_is_passed_over(void **state) {
        static char text[100000];
        size_t n;

        memset(text, 'x', sizeof(text));
        n = sizeof(text) - 200;
        text[n++] = '\n';
        n += (size_t)sprintf(text + n, MAP("/usr/bin/python3.10") "\n");
        assert_string_equal(read_maps(text, n).version, "3.10");
}

static void no_more_than_a_megabyte_of_a_map_is_read(void **state) {
        _cleanup_fd_ int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        ProcPython python;

        assert_int_equal(proc_read_python(fd, &python), 0); /* it comes back */
        assert_string_equal(python.version, "");
        assert_int_equal(proc_read_python(-1, &python), -EBADF);
}

/* ----------------------------------------------------------- the real /proc */

static void the_kernel_s_own_files_are_understood(void **state) {
        _cleanup_fd_ int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
        char command[256];
        ProcStatus status;
        ProcPython python;
        ProcStat stat;

        assert_int_equal(prctl(PR_SET_NAME, ") R 1\n(x", 0, 0, 0), 0);
        assert_int_equal(proc_read_stat(getpid(), &stat), 0);
        assert_string_equal(stat.comm, ") R 1\n(x");
        assert_int_equal(stat.state, 'R');
        assert_true(stat.start_time > 0);
        assert_int_equal(proc_read_status(getpid(), &status), 0);
        assert_int_equal(status.ruid, getuid());
        assert_int_equal(status.euid, geteuid());
        assert_int_equal(proc_read_command(getpid(), command, sizeof(command)), 0);
        assert_non_null(strstr(command, "test-procfs"));
        assert_int_equal(proc_read_python(maps, &python), 0);
        assert_string_equal(python.version, "");
        assert_false(python.native);
}

static void an_executable_that_was_replaced_keeps_its_name(void **state) {
        static const struct {
                const char *name, *path;
        } cases[] = { { "python", "/python" }, { "py (deleted) x", "/py (deleted) x" } };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                _cleanup_free_ char *there = NULL, *gone = NULL;
                _cleanup_fd_ int fd = -1;

                scratch_write(cases[i].name, "", 0);
                fd = open(cases[i].name, O_PATH | O_CLOEXEC);
                assert_int_equal(proc_read_executable(fd, &there), 0);
                assert_string_equal(there + strlen(scratch), cases[i].path);
                assert_int_equal(unlink(cases[i].name), 0);
                assert_int_equal(proc_read_executable(fd, &gone), 0);
                assert_string_equal(gone, there);
        }
        assert_int_equal(proc_read_executable(-1, NULL), -ENOENT);
}

/* A child that waits on its standard input, which is *ret_go; what it runs must write a line first. */
static pid_t start_child(int *ret_go, const char *const *argv) {
        int go[2], ready[2];
        pid_t pid;
        char c;

        assert_int_equal(pipe2(go, O_CLOEXEC), 0);
        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                if (argv && dup2(go[0], 0) == 0 && dup2(ready[1], 1) == 1)
                        (void)execv(argv[0], (char *const *)argv);
                fd_close(go[1]);
                _exit(write(ready[1], "\n", 1) < 0 || read(go[0], &c, 1) < 0);
        }
        fd_close(go[0]);
        fd_close(ready[1]);
        assert_int_equal(read(ready[0], &c, 1), 1);
        fd_close(ready[0]);
        *ret_go = go[1];
        return pid;
}

static void a_command_line_is_joined_and_cut_to_the_buffer(void **state) {
        static const char *const argv[] = { "/bin/sh", "-c", "echo;read x", "", "a b", NULL };
        char command[64], small[8];
        int go;
        pid_t pid = start_child(&go, argv);

        assert_int_equal(proc_read_command(pid, command, sizeof(command)), 0);
        assert_string_equal(command, "/bin/sh -c echo;read x  a b");
        assert_int_equal(proc_read_command(pid, small, sizeof(small)), 0);
        assert_string_equal(small, "/bin/sh");
        fd_close(go);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_true(proc_read_command(pid, command, sizeof(command)) < 0);
}

static void a_process_that_ended_is_a_zombie_and_then_gone(void **state) {
        int go;
        pid_t pid = start_child(&go, NULL);
        char command[16] = "x";
        ProcStatus status;
        siginfo_t info;
        ProcStat stat;
        int r;

        fd_close(go);
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
        assert_int_equal(proc_read_stat(pid, &stat), 0);
        assert_int_equal(stat.state, 'Z');
        assert_int_equal(proc_read_command(pid, command, sizeof(command)), 0);
        assert_string_equal(command, "");

        assert_int_equal(waitpid(pid, NULL, 0), pid);
        r = proc_read_stat(pid, &stat);
        assert_true(r == -ENOENT || r == -ESRCH);
        r = proc_read_status(pid, &status);
        assert_true(r == -ENOENT || r == -ESRCH);
}

static void a_pidfd_tells_of_the_end(void **state) {
        struct pollfd ended = { .events = POLLIN };
        int go;
        pid_t pid = start_child(&go, NULL);

        ended.fd = proc_pidfd(pid);
        if (ended.fd == -ENOSYS) {
                fd_close(go);
                (void)waitpid(pid, NULL, 0);
                print_message("# skipped: no pidfd_open(2) here; valgrind does not know it\n");
                skip();
        }
        assert_true(ended.fd >= 0);
        assert_true(fcntl(ended.fd, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(poll(&ended, 1, 0), 0);
        fd_close(go);
        assert_int_equal(poll(&ended, 1, 10000), 1);
        fd_close(ended.fd);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(proc_pidfd(pid), -ESRCH);
        assert_int_equal(proc_pidfd(-1), -EINVAL);
}

static void a_process_is_younger_than_a_file_only_beyond_doubt(void **state) {
        ProcStat stat;

        assert_int_equal(proc_read_stat(getpid(), &stat), 0);
        assert_false(proc_started_after(stat.start_time, time(NULL)));
        assert_false(proc_started_after(stat.start_time, time(NULL) + 1000));
        assert_true(proc_started_after(stat.start_time, time(NULL) - 1000));
        assert_false(proc_started_after(0, time(NULL))); /* at boot */
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_name_of_a_process_may_hold_anything),
                cmocka_unit_test(a_stat_that_is_cut_short_is_no_stat),
                cmocka_unit_test(a_terminal_has_a_name),
                cmocka_unit_test(ids_are_read_from_their_lines),
                cmocka_unit_test(the_last_pid_is_the_process_s_own),
                cmocka_unit_test(a_status_without_its_lines_is_no_status),
                cmocka_unit_test(a_name_cannot_forge_a_line),
                cmocka_unit_test(an_interpreter_is_told_by_its_file),
                cmocka_unit_test(the_agent_is_told_by_its_library),
                cmocka_unit_test(the_first_interpreter_counts_and_nothing_is_taken_back),
                cmocka_unit_test(a_line_is_found_wherever_it_lies_in_the_file),
                cmocka_unit_test(a_line_longer_than_any_path_is_passed_over),
                cmocka_unit_test(no_more_than_a_megabyte_of_a_map_is_read),
                cmocka_unit_test(a_user_namespace_maps_what_its_map_says),
                cmocka_unit_test(root_is_known_in_a_user_namespace_of_its_own),
                cmocka_unit_test(the_kernel_s_own_files_are_understood),
                cmocka_unit_test(an_executable_that_was_replaced_keeps_its_name),
                cmocka_unit_test(a_command_line_is_joined_and_cut_to_the_buffer),
                cmocka_unit_test(a_process_that_ended_is_a_zombie_and_then_gone),
                cmocka_unit_test(a_pidfd_tells_of_the_end),
                cmocka_unit_test(a_process_is_younger_than_a_file_only_beyond_doubt),
        };

        return cmocka_run_group_tests_name("procfs", tests, scratch_enter, scratch_leave);
}
