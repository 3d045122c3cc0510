/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/fold.h"

#include "tests/unit/test.h"

#define END "#############################################\n\n"
#define HEADER(pid, id) "\n######### ProcessID=" #pid ", ThreadID=" #id " #########\n"
#define WAITS "File: \"a.py\", line 1, in wait\n  event.wait()\n"

static void add(Fold *f, int pid, const char *text) {
        json_t *answer = json_pack("{s:{s:i, s:s}, s:b, s:s}", "target", "pid", pid, "comm", "app", "gil", 1,
                                   "text", text);

        fold_add(f, answer);
        json_decref(answer);
}

static void assert_printed(Fold *f, bool legend, const char *expected) {
        Buffer out = {};

        fold_print(f, legend, &out);
        assert_string_equal(buffer_string(&out), expected);
        buffer_done(&out);
        fold_done(f);
}

static void one_stack_has_its_thread_s_heading(void **state) {
        Fold f = {};

        add(&f, 7, HEADER(7, 140) "Thread 9 \"worker\": running, has the GIL\n" WAITS END);
        assert_printed(&f, true,
                       "7 (app): Thread 9 \"worker\": running, has the GIL\n"
                       "  File: \"a.py\", line 1, in wait\n"
                       "    event.wait()\n"
                       "\n"
                       "1 distinct stack, 1 thread, 1 process.\n");
}

static void the_same_stacks_are_one_with_a_count(void **state) {
        Fold f = {};

        add(&f, 8,
            HEADER(8, 1) "Thread 81 \"main\": running\nFile: \"b.py\", line 2, in main\n" HEADER(
                    8, 2) "Thread 82 \"one\": sleeping in futex\n" WAITS END);
        add(&f, 7,
            HEADER(7, 1) "Thread 71 \"two\": sleeping in futex\n" WAITS HEADER(
                    7, 2) "Thread 72 \"two\": running\n" WAITS END);
        assert_printed(&f, false,
                       "3 threads of 2 processes (app): 7, 8\n"
                       "\"two\" (2), \"one\" (1)\n"
                       "sleeping in futex (2), running (1)\n"
                       "  File: \"a.py\", line 1, in wait\n"
                       "    event.wait()\n"
                       "\n"
                       "8 (app): Thread 81 \"main\": running\n"
                       "  File: \"b.py\", line 2, in main\n"
                       "\n");
}

static void addresses_make_no_difference(void **state) {
        Fold f = {};

        add(&f, 7, HEADER(7, 1) "    self = <T at 0x7f12ab>, 0x, 10x5\n" END);
        add(&f, 8, HEADER(8, 1) "    self = <T at 0x99>, 0x, 10x5\n" END);
        add(&f, 9, HEADER(9, 1) "    self = <U at 0x99>, 0x, 10x5\n" END);
        assert_printed(&f, false,
                       "2 threads of 2 processes (app): 7, 8\n"
                       "      self = <T at 0x7f12ab>, 0x, 10x5\n"
                       "\n"
                       "9 (app): ProcessID=9, ThreadID=1\n"
                       "      self = <U at 0x99>, 0x, 10x5\n"
                       "\n");
}

static void threads_tasks_and_greenlets_are_told_apart(void **state) {
        Fold f = {};

        add(&f, 7,
            HEADER(7, 1) "Thread 1 \"a\": running\n" WAITS
                         "\n######### Task=\"t\" #########\nTask \"t\": waiting, waits for \"u\"\n" WAITS
                         "\n######### Greenlet=5 #########\nGreenlet 5: greenlet.greenlet\n" WAITS END);
        assert_printed(&f, true,
                       "7 (app): Thread 1 \"a\": running\n"
                       "  File: \"a.py\", line 1, in wait\n"
                       "    event.wait()\n"
                       "\n"
                       "7 (app): Task \"t\": waiting, waits for \"u\"\n"
                       "  File: \"a.py\", line 1, in wait\n"
                       "    event.wait()\n"
                       "\n"
                       "7 (app): Greenlet 5: greenlet.greenlet\n"
                       "  File: \"a.py\", line 1, in wait\n"
                       "    event.wait()\n"
                       "\n"
                       "3 distinct stacks, 1 thread, 1 process.\n");
}

static void threads_without_a_python_stack_are_counted(void **state) {
        Fold f = {};
        json_t *answer = json_pack("{s:{s:i, s:s}, s:b, s:s, s:b}", "target", "pid", 7, "comm", "app", "gil",
                                   0, "text",
                                   "\n(Taken without the GIL: no reason.)\n" HEADER(7, 1) WAITS
                                   "\nThreads without a Python stack:\nThread 2 \"x\": running\n"
                                   "Thread 3 \"y\": running\n\n" END,
                                   "truncated", 1);

        fold_add(&f, answer);
        json_decref(answer);
        assert_printed(&f, true,
                       "2 threads of 1 process (app): 7\n"
                       "\"x\" (1), \"y\" (1)\n"
                       "running\n"
                       "  (no Python stack)\n"
                       "\n"
                       "7 (app): ProcessID=7, ThreadID=1\n"
                       "  File: \"a.py\", line 1, in wait\n"
                       "    event.wait()\n"
                       "\n"
                       "Taken without the GIL: 7.\n"
                       "Cut short: 7.\n"
                       "2 distinct stacks, 3 threads, 1 process.\n");
}

static void a_crowd_is_summed_up(void **state) {
        Fold f = {};

        for (int pid = 100; pid > 0; pid--) {
                char text[256];

                (void)snprintf(text, sizeof(text), "%sThread %d \"w%d\": running\n%s", HEADER(1, 1), pid,
                               pid, WAITS END);
                add(&f, pid, text);
        }
        assert_printed(&f, true,
                       "100 threads of 100 processes (app): 1, 2, 3, 4, 5, 6, 7, 8 and 92 more\n"
                       "\"w100\" (1), \"w37\" (1), \"w38\" (1), \"w39\" (1) and more\n"
                       "running\n"
                       "  File: \"a.py\", line 1, in wait\n"
                       "    event.wait()\n"
                       "\n"
                       "1 distinct stack, 100 threads, 100 processes.\n");
}

static void what_is_foreign_is_escaped(void **state) {
        Fold f = {};

        add(&f, 7, HEADER(7, 1) "Thread 1 \"\x1b[2J\": \xc2\x9b\nFile: \"\x1b]0;x\x07\"\n" END);
        assert_printed(&f, false,
                       "7 (app): Thread 1 \"\\x1b[2J\": \\xc2\\x9b\n"
                       "  File: \"\\x1b]0;x\\x07\"\n"
                       "\n");
}

static void nonsense_is_harmless(void **state) {
        static const char *const texts[] = {
                "",
                "\n",
                "#########",
                "######### ",
                "#########  #########",
                "######### #########\n",
                "######### Task=",
                "Threads without a Python stack:",
                "Threads without a Python stack:\nThread ",
                HEADER(1, 1),
                HEADER(1, 1) "Thread ",
                HEADER(1, 1) "Thread \"",
                HEADER(1, 1) "Thread \": ",
                END END,
        };
        Buffer out = {};
        Fold f = {};
        json_t *nothing = json_object();

        for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
                add(&f, (int)i, texts[i]);
        fold_add(&f, nothing);
        fold_print(&f, true, &out);
        assert_true(out.n > 0);
        buffer_done(&out);
        fold_done(&f);
        json_decref(nothing);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_stack_has_its_thread_s_heading),
                cmocka_unit_test(the_same_stacks_are_one_with_a_count),
                cmocka_unit_test(addresses_make_no_difference),
                cmocka_unit_test(threads_tasks_and_greenlets_are_told_apart),
                cmocka_unit_test(threads_without_a_python_stack_are_counted),
                cmocka_unit_test(a_crowd_is_summed_up),
                cmocka_unit_test(what_is_foreign_is_escaped),
                cmocka_unit_test(nonsense_is_harmless),
        };

        return cmocka_run_group_tests_name("fold", tests, NULL, NULL);
}
