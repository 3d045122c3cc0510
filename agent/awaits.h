/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What a suspended coroutine is waiting in: itself, what it awaits, what that awaits. Believes types
 * in C only: no awaitable of the application runs. GIL held.
 */

#include <Python.h>

#include <stdbool.h>

/* Appends their frames to a list, the outermost first. 0, or -1 with an exception set. */
int awaits_frames(PyObject *coroutine, PyObject *frames);

/* Whether it runs at this moment. */
bool awaits_runs(PyObject *coroutine);
