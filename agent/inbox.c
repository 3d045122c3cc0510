/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/inbox.h"
#include "lib/console.h"

/* A buffer that has grown beyond this is given back as soon as it is empty. */
#define INBOX_KEEP 4096U

static size_t unread(const Inbox *i) {
        return i->end - i->start;
}

static int make_room(Inbox *i, size_t n) {
        size_t wanted = unread(i) + n;
        uint8_t *data;

        if (i->start > 0) {
                memmove(i->data, i->data + i->start, unread(i));
                i->end -= i->start;
                i->start = 0;
        }
        if (wanted <= i->n_allocated)
                return 0;
        wanted = wanted < INBOX_KEEP ? INBOX_KEEP : wanted * 2;
        data = realloc(i->data, wanted);
        if (data == NULL)
                return -ENOMEM;
        i->data = data;
        i->n_allocated = wanted;
        return 0;
}

bool inbox_has_room(const Inbox *i, size_t n) {
        return n <= CONSOLE_READ_AHEAD_MAX - unread(i);
}

int inbox_put(Inbox *i, const void *data, size_t n) {
        if (n == 0 || i->closed)
                return 0;
        if (!inbox_has_room(i, n))
                return -ENOBUFS;
        if (i->n_allocated - i->end < n) {
                int r = make_room(i, n);

                if (r < 0)
                        return r;
        }
        memcpy(i->data + i->end, data, n);
        i->end += n;
        return 0;
}

void inbox_put_end(Inbox *i) {
        if (i->n_ends < INBOX_ENDS_MAX && !i->closed)
                i->ends[i->n_ends++] = unread(i);
}

void inbox_close(Inbox *i) {
        i->closed = true;
}

static void trim(Inbox *i) {
        if (unread(i) > 0)
                return;
        i->start = i->end = 0;
        if (i->n_allocated > INBOX_KEEP) {
                free(i->data);
                i->data = NULL;
                i->n_allocated = 0;
        }
}

void inbox_clear(Inbox *i) {
        i->start = i->end;
        i->n_searched = 0;
        i->n_ends = 0;
        trim(i);
}

int inbox_take_line(Inbox *i, char **ret, size_t *ret_n) {
        size_t n_limit = i->n_ends > 0 ? i->ends[0] : unread(i);
        bool ends = i->n_ends > 0 || i->closed;
        const uint8_t *newline = NULL;
        size_t n;
        char *line;

        if (n_limit > i->n_searched)
                newline = memchr(i->data + i->start + i->n_searched, '\n', n_limit - i->n_searched);
        if (newline != NULL)
                n = (size_t)(newline - (i->data + i->start)) + 1;
        else if (!ends) {
                i->n_searched = n_limit;
                return INBOX_E_EMPTY;
        } else
                n = n_limit;

        if (n == 0) {
                if (i->n_ends > 0) {
                        i->n_ends--;
                        memmove(i->ends, i->ends + 1, i->n_ends * sizeof(i->ends[0]));
                }
                return INBOX_E_END;
        }

        line = malloc(n);
        if (line == NULL)
                return -ENOMEM;
        memcpy(line, i->data + i->start, n);
        i->start += n;
        i->n_searched = 0;
        for (size_t k = 0; k < i->n_ends; k++)
                i->ends[k] -= n;
        trim(i);

        *ret = line;
        *ret_n = n;
        return 0;
}

void inbox_done(Inbox *i) {
        free(i->data);
        *i = (Inbox){};
}
