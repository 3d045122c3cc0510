/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What a console's standard input gives to its code: lines, parts of them, all of them. Console thread,
 * GIL held. New references; NULL with an exception set, which may be an interrupt.
 */

#include "agent/client.h"

/* A line, or what was left of one; at most @limit characters unless that is negative. Empty at the end of
 * input. */
PyObject *lines_take(Client *c, Py_ssize_t limit);

/* A list of all that come until the end of input. */
PyObject *lines_take_all(Client *c);

/* Text as a terminal gives it: a line at most, or everything where @limit is negative. */
PyObject *lines_read(Client *c, Py_ssize_t limit);
