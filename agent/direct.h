/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The documented handlers, called by a function of the application with a socket of its own. GIL held.
 */

#include <Python.h>

/* handle_connection_repl(socket): a console in the calling thread. */
PyObject *direct_handle_connection_repl(PyObject *self, PyObject *socket);

/* handle_connection_exec(socket) and handle_repl(locals) are Python (manhole/_handlers.py). */
PyObject *direct_handle_connection_exec(PyObject *self, PyObject *socket);
PyObject *direct_handle_repl(PyObject *self, PyObject *locals);
