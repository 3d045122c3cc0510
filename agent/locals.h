/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The local variables of frames as text (glimpse.h). GIL held.
 */

#include <Python.h>

/* So many characters of them in a dump. */
#define LOCALS_TOTAL_MAX (256 * 1024)

/* Appends a line for each of a frame's variables, and takes its length off @left. 0, or -1 with an
 * exception set. */
int locals_append(PyObject *lines, PyObject *frame, Py_ssize_t *left);
