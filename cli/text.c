/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/text.h"

#include <string.h>

#include "lib/escape.h"

void text_escape(char *ret, size_t size, const char *text) {
        char *out = ret;

        (void)escape_text(ret, size, text, strlen(text));
        for (const char *p = ret; *p; p++) {
                *out++ = *p;
                if (p[0] == '\\' && p[1] == '\\')
                        p++;
                else if (p[0] == '\\' && p[1])
                        *out++ = *++p;
        }
        *out = '\0';
}
