/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * manhole.install() and what it has put in place: one installation a process. GIL held, unless said
 * otherwise.
 */

#include <Python.h>

#include <stdbool.h>

/* Creates the exceptions and adds them to the module. 0, or -1 with an exception set. */
int install_setup(PyObject *module);

/* install(options: dict) -> int, a number for release(). */
PyObject *install_install(PyObject *self, PyObject *kwargs);

/* release(number): undoes that installation, if it is still the current one. */
PyObject *install_release(PyObject *self, PyObject *number);

/* dump_stacktraces() */
PyObject *install_dump(PyObject *self, PyObject *args);

/* Of the latest installation, for a console that begins. */
PyObject *install_locals(void); /* new reference, or NULL */
bool install_redirect_stderr(void);
PyObject *install_dump_stacktraces(void); /* new reference */

/* Child after fork, in the C handler: reinstalls if that was asked for, else nothing is installed any
 * more. The GIL may be anybody's. */
void install_after_fork(void);

/* The same, once Python runs again: says so. */
void install_after_fork_python(void);
