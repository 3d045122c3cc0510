/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Foreign bytes made safe for a terminal: pure state machine.
 *
 * Printable text, line ends and tabs pass, and so do escape sequences that only set colours. All
 * else is shown as escapes (lib/escape.h), so that what a process prints can neither move the
 * cursor over other text, nor hide anything, nor make the terminal type. Unlike in escape_text a
 * backslash stays one: a console is read by people who know Python's.
 */

#include <stdbool.h>
#include <stddef.h>

#include "cli/buffer.h"

#define FILTER_PENDING_MAX 32U

typedef struct Filter {
        char pending[FILTER_PENDING_MAX]; /* a character or a sequence that is cut short */
        size_t n_pending;
        bool coloured; /* the terminal's colours are not the normal ones */
} Filter;

#define FILTER_INIT ((Filter){})

/* Appends the safe form of @data to @out; keeps back what cannot be decided yet. */
void filter_feed(Filter *f, const void *data, size_t n, Buffer *out);

/* Appends what was kept back, and the sequence for normal colours if they are not normal. */
void filter_finish(Filter *f, Buffer *out);
