/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The daemon's own log: lines on standard error, with the journal's <N> level prefix when standard
 * error is the journal (sd-daemon(3)). Text of peers must be escaped by the caller (lib/escape.h).
 */

#include <syslog.h>

/* LOG_ERR … LOG_DEBUG; the default is LOG_INFO. */
void log_set_level(int level);

/* "err", "warning", "notice", "info", "debug": 0, or -EINVAL. */
int log_level_from_string(const char *name, int *ret);

void log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
