/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What one client has typed and nobody has read yet. Pure: no lock, no descriptor, no Python API.
 *
 * Policy for "full": inbox_put() says so, and the client loses its session. It is read ahead so
 * that an interrupt behind a long paste is seen.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ends of input (Ctrl-D in frames) that may wait; more are ignored. */
#define INBOX_ENDS_MAX 16U

enum {
        _INBOX_E_SUCCESS,
        INBOX_E_EMPTY, /* no whole line yet */
        INBOX_E_END,   /* end of input */
};

typedef struct Inbox {
        uint8_t *data; /* owned */
        size_t n_allocated;
        size_t start, end;           /* the unread bytes */
        size_t n_searched;           /* of them, known to hold no newline */
        size_t ends[INBOX_ENDS_MAX]; /* unread bytes before each end of input, ascending */
        size_t n_ends;
        bool closed; /* nothing comes after what is there */
} Inbox;

/* 0, -ENOBUFS when more than CONSOLE_READ_AHEAD_MAX would wait, -ENOMEM. */
int inbox_put(Inbox *i, const void *data, size_t n);

/* Whether @n bytes more could wait. */
bool inbox_has_room(const Inbox *i, size_t n);

/* One end of input at this place; what is put later is read after it. */
void inbox_put_end(Inbox *i);

/* End of input at this place and ever after. */
void inbox_close(Inbox *i);

/* Forgets what waits. */
void inbox_clear(Inbox *i);

/*
 * Takes the next line, with its newline, or what stands before an end of input. The caller frees
 * @ret. 0, INBOX_E_*, or -ENOMEM.
 */
int inbox_take_line(Inbox *i, char **ret, size_t *ret_n);

void inbox_done(Inbox *i);
