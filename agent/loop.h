/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The application's asyncio loop. asyncio is never imported: an application that has a loop has
 * done so. GIL held.
 */

#include <Python.h>

#include <stdbool.h>

/*
 * One that runs now: the main thread's, or else the one that has run longest in another thread. New
 * reference; NULL without an exception when there is none.
 *
 * A thread's running loop is known to that thread alone. So it is looked for in the frames of those
 * who run one, and then among the loops of all tasks, for loops that are not written in Python.
 */
PyObject *loop_find(void);

/* Whether the calling thread runs it: then it waits for whatever is done here. */
bool loop_is_ours(PyObject *loop);
