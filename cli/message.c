/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/exit-status.h"
#include "cli/text.h"

#define LINE_MAX_BYTES 4096U

void message_error(const char *format, ...) {
        char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES];
        va_list args;

        va_start(args, format);
        (void)vsnprintf(text, sizeof(text), format, args);
        va_end(args);

        text_escape(line, sizeof(line), text);
        (void)fflush(stdout);
        (void)fprintf(stderr, "%s: %s\n", program_invocation_short_name, line);
}

void message_out_of_memory(void) {
        message_error("out of memory");
        exit(EXIT_FAILED);
}
