/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What runs in turns within a thread, as blocks of a dump: the tasks of asyncio (aio.h) and greenlets
 * (greenlets.h). Nothing where the application uses none. GIL held.
 */

#include <Python.h>

#include "agent/frames.h"

/* Appends a block for each, as for a thread. 0, or -1 with an exception set. */
int tasks_append(Frames *f, PyObject *lines);
