/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * What the tool itself says: one line on stderr, `manholectl: …`. The line may quote what others
 * said (a daemon's reason, a process's name), so the whole of it is escaped.
 */

void message_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

void message_out_of_memory(void) __attribute__((noreturn));
