/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/filter.h"

#include <string.h>

#include "lib/escape.h"

#define ESC '\x1b'
#define SGR_NORMAL "\x1b[0m"

/* Attributes let through: weights, underline, inverse and the colours. Not blinking (5, 6), and not
 * concealed text (8), which would hide what is there. ECMA-48, 8.3.117. */
static bool sgr_allowed(unsigned code) {
        return code <= 4 || code == 7 || (code >= 21 && code <= 24) || code == 27 ||
               (code >= 30 && code <= 49) || (code >= 90 && code <= 107);
}

/* @p is "ESC [ … m" with only digits and semicolons between. */
static bool sgr_is_colour(const char *p, size_t n, bool *ret_coloured) {
        unsigned code = 0, skip = 0;
        bool coloured = false, extended = false;

        for (size_t i = 2; i < n; i++) {
                if (p[i] >= '0' && p[i] <= '9') {
                        code = code * 10 + (unsigned)(p[i] - '0');
                        if (code > 255)
                                return false;
                        continue;
                }
                if (extended) { /* 38;5;N or 38;2;R;G;B */
                        if (code != 2 && code != 5)
                                return false;
                        skip = code == 2 ? 3 : 1;
                        extended = false;
                } else if (skip > 0) {
                        skip--;
                } else {
                        if (!sgr_allowed(code))
                                return false;
                        coloured = code != 0;
                        extended = code == 38 || code == 48;
                }
                code = 0;
        }
        *ret_coloured = coloured;
        return !extended && skip == 0;
}

typedef enum Verdict {
        VERDICT_PASS,
        VERDICT_DROP,
        VERDICT_ESCAPE,
        VERDICT_WAIT, /* more bytes decide */
} Verdict;

static Verdict judge_sequence(Filter *f, const char *p, size_t n, size_t *ret_used) {
        for (size_t i = 1; i < n; i++) {
                if (i == 1) {
                        if (p[i] != '[')
                                return VERDICT_ESCAPE;
                } else if (p[i] == 'm') {
                        bool coloured;

                        if (!sgr_is_colour(p, i + 1, &coloured))
                                return VERDICT_ESCAPE;
                        f->coloured = coloured;
                        *ret_used = i + 1;
                        return VERDICT_PASS;
                } else if ((p[i] < '0' || p[i] > '9') && p[i] != ';') {
                        return VERDICT_ESCAPE;
                }
                if (i + 1 == FILTER_PENDING_MAX)
                        return VERDICT_ESCAPE;
        }
        return VERDICT_WAIT;
}

/* What becomes of the character or sequence at the front of @p (n > 0). */
static Verdict judge(Filter *f, const char *p, size_t n, size_t *ret_used) {
        size_t k;
        bool cut;

        *ret_used = 1;
        if (*p == '\n' || *p == '\t')
                return VERDICT_PASS;
        if (*p == '\r') /* part of a line end, or else it would overwrite the line */
                return n == 1 ? VERDICT_WAIT : p[1] == '\n' ? VERDICT_DROP : VERDICT_ESCAPE;
        if (*p == ESC)
                return judge_sequence(f, p, n, ret_used);
        k = utf8_length(p, n, &cut);
        if (k == 0)
                return cut ? VERDICT_WAIT : VERDICT_ESCAPE;
        *ret_used = k;
        return VERDICT_ESCAPE;
}

static void append_escaped(Buffer *out, const char *p, size_t n) {
        char text[32]; /* at most four bytes, each at most \xNN */

        buffer_append(out, text, escape_text(text, sizeof(text), p, n));
}

/* Most output is printable ASCII: its length at the front of @p. */
static size_t plain_run(const char *p, size_t n) {
        size_t i = 0;

        while (i < n && p[i] >= ' ' && p[i] <= '~')
                i++;
        return i;
}

/* Returns how many bytes are left undecided at the end. */
static size_t filter_run(Filter *f, const char *p, size_t n, bool final, Buffer *out) {
        while (n > 0) {
                size_t used = plain_run(p, n);
                Verdict verdict = used > 0 ? VERDICT_PASS : judge(f, p, n, &used);

                if (verdict == VERDICT_WAIT) {
                        if (!final)
                                return n;
                        verdict = VERDICT_ESCAPE;
                }
                if (verdict == VERDICT_PASS)
                        buffer_append(out, p, used);
                else if (verdict == VERDICT_ESCAPE)
                        append_escaped(out, p, used);
                p += used;
                n -= used;
        }
        return 0;
}

void filter_feed(Filter *f, const void *data, size_t n, Buffer *out) {
        _Static_assert(FILTER_PENDING_MAX > 4, "a character fits");
        const char *p = data;
        size_t left;

        /* Byte by byte while something is pending: it is decided within FILTER_PENDING_MAX. */
        while (f->n_pending > 0 && n > 0) {
                char joined[FILTER_PENDING_MAX];
                size_t n_joined = f->n_pending;

                memcpy(joined, f->pending, n_joined);
                joined[n_joined++] = *p++;
                n--;
                left = filter_run(f, joined, n_joined, false, out);
                memcpy(f->pending, joined + n_joined - left, left);
                f->n_pending = left;
        }

        left = n > 0 ? filter_run(f, p, n, false, out) : 0;
        if (left > 0) {
                memcpy(f->pending, p + n - left, left);
                f->n_pending = left;
        }
}

void filter_finish(Filter *f, Buffer *out) {
        (void)filter_run(f, f->pending, f->n_pending, true, out);
        f->n_pending = 0;
        if (f->coloured)
                buffer_append(out, SGR_NORMAL, strlen(SGR_NORMAL));
        f->coloured = false;
}
