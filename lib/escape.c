/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/escape.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define ELLIPSIS "\xe2\x80\xa6"

size_t utf8_length(const char *p, size_t n, bool *ret_cut) {
        const uint8_t *u = (const uint8_t *)p;
        uint8_t low = 0x80, high = 0xbf; /* bounds of the second byte: RFC 3629, section 4 */
        size_t want;

        if (ret_cut)
                *ret_cut = false;
        if (n == 0)
                return 0;
        if (u[0] < 0x80)
                return 1;
        if (u[0] >= 0xc2 && u[0] <= 0xdf)
                want = 2;
        else if (u[0] >= 0xe0 && u[0] <= 0xef)
                want = 3;
        else if (u[0] >= 0xf0 && u[0] <= 0xf4)
                want = 4;
        else
                return 0;
        if (u[0] == 0xe0)
                low = 0xa0;
        else if (u[0] == 0xed)
                high = 0x9f;
        else if (u[0] == 0xf0)
                low = 0x90;
        else if (u[0] == 0xf4)
                high = 0x8f;

        for (size_t i = 1; i < want; i++) {
                if (i == n) {
                        if (ret_cut)
                                *ret_cut = true;
                        return 0;
                }
                if (u[i] < low || u[i] > high)
                        return 0;
                low = 0x80;
                high = 0xbf;
        }
        return want;
}

static uint32_t utf8_decode(const char *p, size_t n) {
        const uint8_t *u = (const uint8_t *)p;
        uint32_t c = n == 1 ? u[0] : u[0] & (0xffU >> (n + 1));

        for (size_t i = 1; i < n; i++)
                c = c << 6 | (u[i] & 0x3fU);
        return c;
}

/* Default_Ignorable_Code_Point and the separators: characters that change direction, break lines
 * or show nothing (Unicode Standard, sections 5.21 and 23.2; UAX #9). */
static const struct {
        uint32_t first, last;
} invisible[] = {
        { 0xad, 0xad },       { 0x34f, 0x34f },     { 0x61c, 0x61c },     { 0x115f, 0x1160 },
        { 0x17b4, 0x17b5 },   { 0x180b, 0x180f },   { 0x200b, 0x200f },   { 0x2028, 0x202e },
        { 0x2060, 0x206f },   { 0x3164, 0x3164 },   { 0xfe00, 0xfe0f },   { 0xfeff, 0xfeff },
        { 0xffa0, 0xffa0 },   { 0xfff0, 0xfffb },   { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a },
        { 0xe0000, 0xe0fff },
};

static bool is_printable(uint32_t c) {
        if (c < 0x20 || (c >= 0x7f && c < 0xa0))
                return false;
        for (size_t i = 0; i < sizeof(invisible) / sizeof(*invisible); i++)
                if (c >= invisible[i].first && c <= invisible[i].last)
                        return false;
        return true;
}

/* One character, or the escape of one byte, into @ret (at least 5 bytes). */
static size_t escape_one(char *ret, const char *p, size_t n, size_t *ret_used) {
        static const char letters[] = "\n\t\r\\";
        size_t k = utf8_length(p, n, NULL);
        const char *letter;

        *ret_used = 1;
        letter = *p ? strchr(letters, *p) : NULL;
        if (letter) {
                ret[0] = '\\';
                ret[1] = "ntr\\"[letter - letters];
                return 2;
        }
        if (k > 0 && is_printable(utf8_decode(p, k))) {
                memcpy(ret, p, k);
                *ret_used = k;
                return k;
        }
        return (size_t)snprintf(ret, 5, "\\x%02x", (uint8_t)*p);
}

size_t escape_text(char *ret, size_t size, const void *text, size_t n) {
        const char *p = text;
        size_t out = 0, fits = 0; /* fits: where the ellipsis would still have room */

        assert(size >= 8);

        while (n > 0) {
                char one[8];
                size_t used, k = escape_one(one, p, n, &used);

                if (out + k >= size) {
                        memcpy(ret + fits, ELLIPSIS, sizeof(ELLIPSIS));
                        return fits + strlen(ELLIPSIS);
                }
                memcpy(ret + out, one, k);
                out += k;
                if (out + sizeof(ELLIPSIS) <= size)
                        fits = out;
                p += used;
                n -= used;
        }
        ret[out] = '\0';
        return out;
}
