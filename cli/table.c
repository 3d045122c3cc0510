/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "cli/message.h"

#define ELLIPSIS "\xe2\x80\xa6"

void table_init(Table *t, const TableColumn *columns, size_t n_columns) {
        *t = (Table){ .columns = columns, .n_columns = n_columns };
}

void table_done(Table *t) {
        for (size_t i = 0; i < t->n_rows * t->n_columns; i++)
                free(t->cells[i]);
        free(t->cells);
        *t = (Table){};
}

void table_add(Table *t, const char *const *cells) {
        size_t n = t->n_rows * t->n_columns;
        char **grown = reallocarray(t->cells, n + t->n_columns, sizeof(*grown));

        if (!grown)
                message_out_of_memory();
        t->cells = grown;
        for (size_t i = 0; i < t->n_columns; i++) {
                t->cells[n + i] = strdup(cells[i]);
                if (!t->cells[n + i])
                        message_out_of_memory();
        }
        t->n_rows++;
}

/* The longest front of @text that is at most @max columns wide; *ret_width is its width. */
static size_t text_fit(const char *text, size_t max, size_t *ret_width) {
        mbstate_t state = {};
        size_t at = 0, width = 0;

        while (text[at]) {
                wchar_t c;
                size_t k = mbrtowc(&c, text + at, MB_CUR_MAX, &state);
                int w;

                if (k == (size_t)-1 || k == (size_t)-2) { /* escaped text has none */
                        state = (mbstate_t){};
                        k = 1;
                        w = 1;
                } else {
                        w = wcwidth(c);
                }
                if (w > 0 && width + (size_t)w > max)
                        break;
                width += w > 0 ? (size_t)w : 0;
                at += k;
        }
        *ret_width = width;
        return at;
}

static size_t text_width(const char *text) {
        size_t width;

        (void)text_fit(text, SIZE_MAX / 2, &width);
        return width;
}

static void shrink(const Table *t, size_t *widths, unsigned limit) {
        size_t total = t->n_columns - 1; /* the blanks between */

        for (size_t i = 0; i < t->n_columns; i++)
                total += widths[i];

        while (total > limit) {
                size_t widest = t->n_columns;

                for (size_t i = 0; i < t->n_columns; i++)
                        if ((t->columns[i].flags & TABLE_SHRINK) &&
                            widths[i] > text_width(t->columns[i].heading) &&
                            (widest == t->n_columns || widths[i] >= widths[widest]))
                                widest = i;
                if (widest == t->n_columns)
                        return;
                widths[widest]--;
                total--;
        }
}

static void print_cell(FILE *stream, const char *text, size_t width, TableFlags flags, bool last) {
        size_t used = text_width(text), n = strlen(text);
        bool cut = used > width;

        if (cut) {
                n = text_fit(text, width - 1, &used);
                used++;
        }
        if (flags & TABLE_RIGHT)
                (void)fprintf(stream, "%*s", (int)(width - used), "");
        (void)fwrite(text, 1, n, stream);
        if (cut)
                (void)fputs(ELLIPSIS, stream);
        if (last)
                (void)fputc('\n', stream);
        else
                (void)fprintf(stream, "%*s ", flags & TABLE_RIGHT ? 0 : (int)(width - used), "");
}

void table_print(const Table *t, FILE *stream, unsigned width, bool heading) {
        size_t *widths = calloc(t->n_columns, sizeof(*widths));

        if (!widths)
                message_out_of_memory();
        for (size_t i = 0; i < t->n_columns; i++) {
                if (heading)
                        widths[i] = text_width(t->columns[i].heading);
                for (size_t row = 0; row < t->n_rows; row++) {
                        size_t w = text_width(t->cells[row * t->n_columns + i]);

                        if (w > widths[i])
                                widths[i] = w;
                }
        }
        if (width > 0)
                shrink(t, widths, width);

        for (size_t i = 0; heading && i < t->n_columns; i++)
                print_cell(stream, t->columns[i].heading, widths[i], t->columns[i].flags,
                           i + 1 == t->n_columns);
        for (size_t row = 0; row < t->n_rows; row++)
                for (size_t i = 0; i < t->n_columns; i++)
                        print_cell(stream, t->cells[row * t->n_columns + i], widths[i], t->columns[i].flags,
                                   i + 1 == t->n_columns);
        free(widths);
}
