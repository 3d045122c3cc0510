/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <locale.h>
#include <stdlib.h>

#include "cli/table.h"

static const TableColumn columns[] = {
        { "PID", TABLE_RIGHT },
        { "NAME", TABLE_SHRINK },
        { "COMMAND", TABLE_SHRINK },
        { "N", TABLE_RIGHT },
};

static void assert_printed(const char *const (*rows)[4], size_t n_rows, unsigned width, bool heading,
                           const char *expected) {
        char *text = NULL;
        size_t n = 0;
        FILE *stream = open_memstream(&text, &n);
        Table table;

        table_init(&table, columns, 4);
        for (size_t i = 0; i < n_rows; i++)
                table_add(&table, rows[i]);
        table_print(&table, stream, width, heading);
        (void)fclose(stream);
        assert_string_equal(text, expected);
        table_done(&table);
        free(text);
}

static const char *const two_rows[][4] = {
        { "1", "init", "/sbin/init --quiet", "0" },
        { "12345", "a", "b", "17" },
};

static void columns_are_as_wide_as_their_widest_cell(void **state) {
        assert_printed(two_rows, 2, 0, true,
                       "  PID NAME COMMAND             N\n"
                       "    1 init /sbin/init --quiet  0\n"
                       "12345 a    b                  17\n");
}

static void without_headings_they_take_no_room(void **state) {
        assert_printed(two_rows + 1, 1, 0, false, "12345 a b 17\n");
        assert_printed(NULL, 0, 0, false, "");
}

static void the_widest_column_gives_way(void **state) {
        assert_printed(two_rows, 2, 25, true,
                       "  PID NAME COMMAND      N\n"
                       "    1 init /sbin/init\xe2\x80\xa6  0\n"
                       "12345 a    b           17\n");
}

static void no_column_is_narrower_than_its_heading(void **state) {
        assert_printed(two_rows, 1, 1, true,
                       "PID NAME COMMAND N\n"
                       "  1 init /sbin/\xe2\x80\xa6 0\n");
}

static void wide_characters_take_two_columns(void **state) {
        static const char *const rows[][4] = {
                { "1", "\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97", "x", "1" }, /* four, two wide */
                { "2", "12345678", "x", "1" },
        };

        assert_printed(rows, 2, 0, false,
                       "1 \xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97 x 1\n"
                       "2 12345678 x 1\n");
        /* Seven columns have room for three of them and the ellipsis. */
        assert_printed(rows, 2, 13, false,
                       "1 \xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe2\x80\xa6 x 1\n"
                       "2 123456\xe2\x80\xa6 x 1\n");
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
                cmocka_unit_test(without_headings_they_take_no_room),
                cmocka_unit_test(the_widest_column_gives_way),
                cmocka_unit_test(no_column_is_narrower_than_its_heading),
                cmocka_unit_test(wide_characters_take_two_columns),
        };

        (void)setlocale(LC_CTYPE, "C.UTF-8");
        return cmocka_run_group_tests_name("cli-table", tests, NULL, NULL);
}
