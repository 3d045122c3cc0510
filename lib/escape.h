/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Untrusted text for a terminal or a log line: pure.
 *
 * What a peer says (process names, command lines, console bytes) may hold escape sequences, line
 * ends that forge a second line, or direction marks that reorder one. Everything that is not a
 * printable character becomes \n, \t, \r, \\ or \xNN.
 */

#include <stdbool.h>
#include <stddef.h>

/* Length in bytes of the valid UTF-8 character at the front of @p; 0 if there is none. If the
 * bytes are a character's beginning that is merely cut short, *ret_cut (may be NULL) is true. */
size_t utf8_length(const char *p, size_t n, bool *ret_cut);

/*
 * Escapes @n bytes into @ret, at most @size bytes with the NUL; a text that does not fit ends in
 * "…". Returns the length written, without the NUL. @size must be at least 8.
 */
size_t escape_text(char *ret, size_t size, const void *text, size_t n);
