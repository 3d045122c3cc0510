/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/json-print.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/buffer.h"
#include "cli/message.h"
#include "lib/cleanup.h"
#include "lib/escape.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */
#define INDENT 8
#define REAL_DIGITS 15 /* 0.1 stays 0.1 */

void json_print(json_t *value, JsonMode mode) {
        size_t flags = mode == JSON_PRETTY ? JSON_INDENT(INDENT) : JSON_COMPACT;
        _cleanup_free_ char *text = NULL;

        assert(mode != JSON_OFF);

        /* JSON need not escape what terminals obey, such as U+009B. */
        if (isatty(STDOUT_FILENO))
                flags |= JSON_ENSURE_ASCII;
        text = json_dumps(value, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(REAL_DIGITS));
        if (!text)
                message_out_of_memory();
        (void)printf("%s\n", text);
}

json_t *json_bytes(const char *bytes, size_t n) {
        _cleanup_(buffer_done) Buffer clean = {};
        json_t *value;

        while (n > 0) {
                size_t k = utf8_length(bytes, n, NULL);

                if (k > 0) {
                        buffer_append(&clean, bytes, k);
                } else {
                        buffer_append(&clean, REPLACEMENT, sizeof(REPLACEMENT) - 1);
                        k = 1;
                }
                bytes += k;
                n -= k;
        }
        value = json_stringn(clean.n > 0 ? clean.data : "", clean.n);
        if (!value)
                message_out_of_memory();
        return value;
}
