/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Bytes that grow at the end and shrink at the front. There is nothing a command line tool can do
 * without memory, so these functions end the program when there is none.
 */

#include <stddef.h>

typedef struct Buffer {
        char *data; /* owned; NULL while nothing was ever appended */
        size_t n, allocated;
} Buffer;

void buffer_done(Buffer *b);
void buffer_append(Buffer *b, const void *data, size_t n);

/* Room for @n more bytes at data + n, for the caller to fill and then add to n. */
void buffer_reserve(Buffer *b, size_t n);

void buffer_drop(Buffer *b, size_t n);

/* The bytes as a C string, valid until the next change. */
const char *buffer_string(Buffer *b);

/* @text escaped (cli/text.h) into a string that is the caller's. */
char *escape_new(const char *text);
