/* SPDX-License-Identifier: BSD-2-Clause */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"

#include "agent/changed.h"
#include "agent/source.h"

/* In place of agent/changed.c: these files are all younger than this process. */
static bool all_changed;

bool changed_look(int fd, const char *path, struct statx *ret) {
        return statx(fd, path, AT_EMPTY_PATH, STATX_BASIC_STATS, ret) == 0;
}

bool changed_since(const struct statx *file) {
        return all_changed;
}

static char folder[] = "/tmp/test-agent-source-XXXXXX";

static char *write_source(const char *name, const char *text) {
        char *path = NULL;
        FILE *file;

        assert_true(asprintf(&path, "%s/%s", folder, name) > 0);
        file = fopen(path, "we");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
        return path;
}

static void assert_source(SourceCache *c, const char *name, long line, const char *expected) {
        const char *found = NULL;
        size_t n = 0;
        bool has = source_line(c, name, strlen(name), line, &found, &n);

        assert_int_equal(has, expected != NULL);
        if (expected != NULL) {
                assert_int_equal(n, strlen(expected));
                assert_memory_equal(found, expected, n);
        }
}

static void lines_come_without_indentation_and_newline(void **state) {
        char *path = write_source("a.py", "one\n\t  two \r\n\n  \nlast");
        SourceCache c;

        source_init(&c, 60000);
        assert_source(&c, path, 1, "one");
        assert_source(&c, path, 2, "two");
        assert_source(&c, path, 3, NULL);
        assert_source(&c, path, 4, NULL);
        assert_source(&c, path, 5, "last");
        assert_source(&c, path, 6, NULL);
        assert_source(&c, path, 0, NULL);
        assert_source(&c, path, -1, NULL);
        source_done(&c);
        unlink(path);
        free(path);
}

/* As faulthandler writes them: what is not ASCII is escaped. */
static void escaped_names_are_found(void **state) {
        static const char *const names[][2] = {
                { "k\xC3\xA4se.py", "k\\xe4se.py" },
                { "\xE2\x82\xAC.py", "\\u20ac.py" },
                { "\xF0\x9F\x90\x8D.py", "\\U0001f40d.py" },
                { "\xE4.py", "\\udce4.py" },
                { "back\\slash.py", "back\\slash.py" },
                { "\\x.py", "\\x.py" },
        };
        SourceCache c;

        source_init(&c, 60000);
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                char *path = write_source(names[i][0], "found\n"), *name = NULL;

                assert_true(asprintf(&name, "%s/%s", folder, names[i][1]) > 0);
                assert_source(&c, name, 1, "found");
                unlink(path);
                free(path);
                free(name);
        }
        source_done(&c);
}

static void what_is_no_file_is_not_waited_for(void **state) {
        char *path = NULL;
        SourceCache c;

        assert_true(asprintf(&path, "%s/fifo", folder) > 0);
        assert_int_equal(mkfifo(path, 0600), 0);
        source_init(&c, 60000);
        assert_source(&c, path, 1, NULL);
        assert_source(&c, folder, 1, NULL);
        assert_source(&c, "/nonexistent", 1, NULL);
        assert_source(&c, "<string>", 1, NULL);
        source_done(&c);
        unlink(path);
        free(path);
}

static void more_files_than_are_kept_are_read_again(void **state) {
        char *paths[SOURCE_FILES_MAX * 2];
        SourceCache c;

        source_init(&c, 60000);
        for (size_t i = 0; i < SOURCE_FILES_MAX * 2; i++) {
                char text[32];

                snprintf(text, sizeof(text), "%zu.py", i);
                paths[i] = write_source(text, text);
        }
        for (size_t round = 0; round < 2; round++)
                for (size_t i = 0; i < SOURCE_FILES_MAX * 2; i++)
                        assert_source(&c, paths[i], 1, strrchr(paths[i], '/') + 1);
        source_done(&c);
        for (size_t i = 0; i < SOURCE_FILES_MAX * 2; i++) {
                unlink(paths[i]);
                free(paths[i]);
        }
}

static void no_file_is_opened_when_time_is_up(void **state) {
        char *path = write_source("late.py", "late\n");
        SourceCache c;

        source_init(&c, -1);
        assert_source(&c, path, 1, NULL);
        source_done(&c);
        unlink(path);
        free(path);
}

static void a_file_that_has_changed_shows_no_line(void **state) {
        char *path = write_source("changed.py", "new\n");
        SourceCache c;

        all_changed = true;
        source_init(&c, 60000);
        assert_source(&c, path, 1, CHANGED_REMARK);
        source_done(&c);
        all_changed = false;
        unlink(path);
        free(path);
}

static int make_folder(void **state) {
        return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state) {
        return rmdir(folder);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lines_come_without_indentation_and_newline),
                cmocka_unit_test(escaped_names_are_found),
                cmocka_unit_test(what_is_no_file_is_not_waited_for),
                cmocka_unit_test(more_files_than_are_kept_are_read_again),
                cmocka_unit_test(no_file_is_opened_when_time_is_up),
                cmocka_unit_test(a_file_that_has_changed_shows_no_line),
        };

        return cmocka_run_group_tests_name("agent/source", tests, make_folder, remove_folder);
}
