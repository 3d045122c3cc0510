/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * manhole.install() and what it has put in place: one installation a process. GIL held.
 */

#include <Python.h>

/* Creates the exceptions and adds them to the module. 0, or -1 with an exception set. */
int install_setup(PyObject *module);

/* install(options: dict) -> int, a number for release(). */
PyObject *install_install(PyObject *self, PyObject *kwargs);

/* release(number): undoes that installation, if it is still the current one. */
PyObject *install_release(PyObject *self, PyObject *number);

/* dump_stacktraces() */
PyObject *install_dump(PyObject *self, PyObject *args);
