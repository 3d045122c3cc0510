/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Every thread's Python stack as text, with the GIL.
 */

#include <Python.h>

#include <stdbool.h>

/* A new str, or NULL with an exception set. @locals: with each frame's variables. */
PyObject *stacks_format(bool locals);
