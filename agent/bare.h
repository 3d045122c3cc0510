/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What a console needs of the standard library, in a few lines of its own: for a process in which the
 * library cannot be imported any more, because it was removed or replaced, or the process has changed
 * its root or its user. GIL held.
 */

#include <Python.h>

/* As codeop.CommandCompiler(), but without a memory for `from __future__`. New reference, or NULL with an
 * exception set. */
PyObject *bare_compiler(void);

/* As traceback.format_exception(), but without source lines, and in one str. New reference, or NULL with
 * an exception set. */
PyObject *bare_format_exception(PyObject *type, PyObject *value, PyObject *traceback);
