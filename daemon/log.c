/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int log_level = LOG_INFO;

void log_set_level(int level) {
        log_level = level;
}

int log_level_from_string(const char *name, int *ret) {
        static const struct {
                const char *name;
                int level;
        } levels[] = {
                { "err", LOG_ERR },   { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
                { "info", LOG_INFO }, { "debug", LOG_DEBUG },
        };

        for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
                if (strcmp(levels[i].name, name) == 0) {
                        *ret = levels[i].level;
                        return 0;
                }
        return -EINVAL;
}

void log_line(int level, const char *format, ...) {
        char line[1024];
        va_list args;
        int n = 0;

        if (level > log_level)
                return;
        if (getenv("JOURNAL_STREAM"))
                n = snprintf(line, sizeof(line), "<%d>", level);
        va_start(args, format);
        (void)vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
        va_end(args);
        (void)fprintf(stderr, "%s\n", line);
}
