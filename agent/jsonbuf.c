/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/jsonbuf.h"

static void append(JsonBuffer *b, const char *text, size_t n) {
        if (b->failed)
                return;
        if (b->n_data + n + 1 > b->n_allocated) {
                size_t wanted = (b->n_data + n + 1) * 2;
                char *data = realloc(b->data, wanted);

                if (data == NULL) {
                        jsonbuf_done(b);
                        b->failed = true;
                        return;
                }
                b->data = data;
                b->n_allocated = wanted;
        }
        memcpy(b->data + b->n_data, text, n);
        b->n_data += n;
        b->data[b->n_data] = '\0';
}

void jsonbuf_raw(JsonBuffer *b, const char *text) {
        append(b, text, strlen(text));
}

void jsonbuf_integer(JsonBuffer *b, long long value) {
        char text[32];

        append(b, text, (size_t)snprintf(text, sizeof(text), "%lld", value));
}

/* The length of the UTF-8 character at @p, 0 if there is none. */
static size_t utf8_length(const uint8_t *p, size_t n) {
        static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t length = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
        uint32_t c;

        if (length <= 1)
                return length;
        if (length > n)
                return 0;
        c = p[0] & (0x7FU >> length);
        for (size_t i = 1; i < length; i++) {
                if (p[i] >> 6 != 2)
                        return 0;
                c = c << 6 | (p[i] & 0x3F);
        }
        return c < least[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF) ? 0 : length;
}

/* Writes the JSON form of the character at @p to @buffer; says how long both are. */
static size_t escape(const uint8_t *p, size_t n, char buffer[8], size_t *ret_used) {
        static const char letters[] = "btn\0fr"; /* of U+0008 to U+000D; U+000B has none */
        size_t length = utf8_length(p, n);

        *ret_used = length > 0 ? length : 1;
        if (length == 0) {
                memcpy(buffer, "\xEF\xBF\xBD", 3);
                return 3;
        }
        if (p[0] == '"' || p[0] == '\\') {
                buffer[0] = '\\';
                buffer[1] = (char)p[0];
                return 2;
        }
        if (p[0] >= 8 && p[0] <= 13 && p[0] != 11) {
                buffer[0] = '\\';
                buffer[1] = letters[p[0] - 8];
                return 2;
        }
        if (p[0] < 0x20 || p[0] == 0x7F)
                return (size_t)snprintf(buffer, 8, "\\u%04x", p[0]);
        memcpy(buffer, p, length);
        return length;
}

bool jsonbuf_string(JsonBuffer *b, const char *text, size_t n, size_t max) {
        const uint8_t *p = (const uint8_t *)text;
        size_t written = 0;

        append(b, "\"", 1);
        while (n > 0) {
                char buffer[8];
                size_t used, length = escape(p, n, buffer, &used);

                if (length > max - written)
                        break;
                append(b, buffer, length);
                written += length;
                p += used;
                n -= used;
        }
        append(b, "\"", 1);
        return n == 0;
}

void jsonbuf_pad(JsonBuffer *b, size_t align) {
        while (!b->failed && b->n_data % align != 0)
                append(b, " ", 1);
}

void jsonbuf_done(JsonBuffer *b) {
        free(b->data);
        *b = (JsonBuffer){};
}
