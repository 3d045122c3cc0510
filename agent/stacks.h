/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Every thread's Python stack as text, with the GIL.
 */

#include <Python.h>

/* A new str, or NULL with an exception set. */
PyObject *stacks_format(void);
