/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* Foreign text as one line that is safe for a terminal: pure. */

#include <stddef.h>

/*
 * As escape_text() of lib/escape.h, but a backslash stays one: what manholed says of processes has
 * been escaped already, and would be unreadable if it were twice. @size must be at least 8.
 */
void text_escape(char *ret, size_t size, const char *text);
