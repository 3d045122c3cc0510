/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What those who look at objects share. GIL held.
 */

#include <Python.h>

/* An attribute as the type in C has it: no __getattribute__ or __getattr__ runs. A new reference, or
 * NULL without an exception. */
PyObject *look_attribute(PyObject *object, const char *name);

/* Appends @text to a list, and it is then gone; a NULL is an error that is passed on: 0, or -1 with an
 * exception set. */
int look_append_consume(PyObject *lines, PyObject *text);
