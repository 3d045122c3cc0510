/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/buffer.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/message.h"
#include "cli/text.h"

#define BUFFER_MIN 256U

void buffer_done(Buffer *b) {
        free(b->data);
        *b = (Buffer){};
}

void buffer_reserve(Buffer *b, size_t n) {
        size_t need, want = b->allocated > 0 ? b->allocated : BUFFER_MIN;
        char *grown;

        if (__builtin_add_overflow(b->n, n, &need) || need > SIZE_MAX / 2)
                message_out_of_memory();
        if (b->data && need <= b->allocated)
                return;
        while (want < need)
                want *= 2;
        grown = realloc(b->data, want);
        if (!grown)
                message_out_of_memory();
        b->data = grown;
        b->allocated = want;
}

void buffer_append(Buffer *b, const void *data, size_t n) {
        if (n == 0)
                return;
        buffer_reserve(b, n);
        memcpy(b->data + b->n, data, n);
        b->n += n;
}

void buffer_drop(Buffer *b, size_t n) {
        assert(n <= b->n);
        if (n == 0)
                return;
        memmove(b->data, b->data + n, b->n - n);
        b->n -= n;
}

const char *buffer_string(Buffer *b) {
        buffer_reserve(b, 1);
        b->data[b->n] = '\0';
        return b->data;
}

char *escape_new(const char *text) {
        size_t size = 4 * strlen(text) + 8; /* one byte becomes at most four: \xNN */
        char *escaped = malloc(size);

        if (!escaped)
                message_out_of_memory();
        text_escape(escaped, size, text);
        return escaped;
}
