/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Whether a source file is still what the process has loaded. CPython does not keep what it has read,
 * nor when: a file counts as changed when it was written, or came into being, after the program
 * started. An upgrade that keeps the times of its files is seen by the second; chmod() and hard links
 * are no change. No Python API; any thread.
 */

#include <stdbool.h>
#include <sys/stat.h>

/* Shown in place of a line. */
#define CHANGED_REMARK "[source file changed after the process started]"

/* Notes when the program started, for as long as there is a /proc: once, and a child after fork has it
 * from its parent, which loaded what both run. Any thread, also at a time. */
void changed_setup(void);

/* Looks at a file: at @path, or where that is empty at @fd. False when it cannot be had. */
bool changed_look(int fd, const char *path, struct statx *ret);

/* Whether it has changed. */
bool changed_since(const struct statx *file);
