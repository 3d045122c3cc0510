/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * manhole.install() and what it has put in place: one installation a process. GIL held.
 */

#include <Python.h>

#include <stdbool.h>

/* install(options: dict, manhole) -> int, a number for the functions below. @manhole has the methods that
 * become signal handlers. */
PyObject *install_install(PyObject *self, PyObject *args);

/* Whether there has been an installation in this process: without one nothing can be served. */
bool install_is_ready(void);

/* release(number): undoes that installation, if it is still the current one. */
PyObject *install_release(PyObject *self, PyObject *number);

/* activate(number): opens the socket, if it is not open. */
PyObject *install_activate(PyObject *self, PyObject *number);

/* oneshot(number): waits for one client and serves it in the calling thread. */
PyObject *install_oneshot(PyObject *self, PyObject *number);

/* dump_stacktraces(locals=False) */
PyObject *install_dump(PyObject *self, PyObject *args, PyObject *kwargs);

/* locals() -> dict: the option, which all handle_connection_exec() share. */
PyObject *install_locals(PyObject *self, PyObject *args);

/* listener_thread() -> (ident, native id), or None where no socket is open. */
PyObject *install_listener_thread(PyObject *self, PyObject *args);

/* log(text): a line as the agent's own. NotInstalled before the first installation. */
PyObject *install_log(PyObject *self, PyObject *text);
