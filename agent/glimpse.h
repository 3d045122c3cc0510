/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What an object is, in few words: the `repr` of Python's own plain types, cut; of all others the type
 * and the address. No code of the application runs, so that it ends, raises nothing and changes
 * nothing. GIL held.
 */

#include <Python.h>

/* A class as `MODULE.NAME`, whatever its metaclass says. A new str, or NULL with an exception set. */
PyObject *glimpse_type(PyObject *type);

/* A new str of about @max characters at most, or NULL with an exception set. */
PyObject *glimpse(PyObject *object, Py_ssize_t max);
