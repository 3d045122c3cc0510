/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The agent's log lines, `Manhole[PID:TIME]: message`, as python-manhole words them: people grep
 * for these.
 *
 * A line never blocks and never raises: where the destination has no room, the line is lost. What
 * goes to a descriptor is written at once, by the calling thread. What goes to a Python object
 * without a descriptor is written by an errand that holds the GIL.
 */

#include <stdbool.h>

/* Where lines go. @object is borrowed (a PyObject with `write`), or NULL for @fd. GIL held. */
void log_configure(bool enabled, int fd, void *object);

/* Any thread, GIL not needed. Bytes that are not ASCII are left out. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Logs the exception that is set, and clears it: "Type: message", or after @what its repr. GIL held. */
void log_raised(const char *what);

/* Writes what still waits for the errand. GIL held. */
void log_flush(void);

/* Locks nothing and drops what waits. Child after fork. */
void log_reset(void);
