/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What was typed at this process's consoles, of whichever session: statements as they were typed,
 * oldest first. Not what an `exec` ran, and nothing that code has read with input().
 *
 * Bounded: the oldest go first. Who may read it may read the process's memory anyway. No Python API;
 * its lock is a leaf. A child after fork begins with none.
 */

#include <stddef.h>

#include "agent/jsonbuf.h"

#define HISTORY_ENTRIES_MAX 1000U
#define HISTORY_BYTES_MAX (128U * 1024U)

/* Adds a statement, without the end of its last line. Not if it is empty, the same as the last one, or
 * too long to be kept. Any thread. */
void history_add(const char *text, size_t n);

/* Appends a JSON list of the last @n_max statements. Any thread. */
void history_write(JsonBuffer *b, size_t n_max);

/* Around a fork. */
void history_fork_prepare(void);
void history_fork_parent(void);
void history_fork_child(void);
