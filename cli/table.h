/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A table as systemd's tools print one: upper-case headings, columns as wide as their widest cell.
 * Where that is wider than the terminal, the columns that may shrink give way, widest first, and
 * cut cells end in "…". Cells must be safe for a terminal already (cli/text.h).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef enum TableFlags {
        TABLE_LEFT = 0,
        TABLE_RIGHT = 1 << 0,  /* numbers */
        TABLE_SHRINK = 1 << 1, /* may be cut */
} TableFlags;

typedef struct TableColumn {
        const char *heading;
        TableFlags flags;
} TableColumn;

typedef struct Table {
        const TableColumn *columns; /* borrowed */
        size_t n_columns;
        char **cells; /* owned: n_rows times n_columns */
        size_t n_rows;
} Table;

void table_init(Table *t, const TableColumn *columns, size_t n_columns);
void table_done(Table *t);

/* Copies @cells, one per column. */
void table_add(Table *t, const char *const *cells);

/* @width: columns of the terminal, 0 for no limit. */
void table_print(const Table *t, FILE *stream, unsigned width, bool heading);
