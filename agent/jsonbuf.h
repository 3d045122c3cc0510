/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Writes JSON, never reads it: pure, no Python API. Text that is not UTF-8 becomes U+FFFD.
 * After a failed allocation the buffer is empty and takes nothing more.
 */

#include <stdbool.h>
#include <stddef.h>

typedef struct JsonBuffer {
        char *data; /* owned, always terminated; NULL while empty */
        size_t n_data;
        size_t n_allocated;
        bool failed;
} JsonBuffer;

#define JSON_BUFFER_INIT ((JsonBuffer){})

/* Appends as it is: punctuation, literals, what is JSON already. */
void jsonbuf_raw(JsonBuffer *b, const char *text);
void jsonbuf_integer(JsonBuffer *b, long long value);

/*
 * Appends a string in quotes. No more than @max bytes are written between them; false if the text
 * was cut for that.
 */
bool jsonbuf_string(JsonBuffer *b, const char *text, size_t n, size_t max);

/* Appends spaces up to a multiple of @align. */
void jsonbuf_pad(JsonBuffer *b, size_t align);

void jsonbuf_done(JsonBuffer *b);
