/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The tasks of asyncio as they are shown: one after the other as a tree, and what is said of each. GIL
 * held.
 */

#include <Python.h>

#include <stddef.h>

#include "agent/aio.h"

const char *aiotree_state(AioState state);

/* Its name in quotes; escaped where it is not for printing, `?` without one. NULL with an exception
 * set. */
PyObject *aiotree_quote(const AioTask *t);

/* The frames of its coroutine and of what that awaits, the outermost first. NULL with an exception
 * set. */
PyObject *aiotree_frames(const AioTask *t);

/*
 * Those that nobody waits for come first, each followed by those that it waits for. Calls @visit once
 * for every task with how deep it stands; ends early when that returns other than 0, and returns it.
 */
int aiotree_walk(AioTasks *a, int (*visit)(AioTasks *a, size_t task, size_t depth, void *arg), void *arg);
