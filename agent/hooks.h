/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Documented functions that an application may replace in the package: `manhole.get_peercred = …`.
 * The package tells of each such assignment, so that a thread without the GIL knows whether there is
 * anything to call; where all are our own, nothing is.
 */

#include <Python.h>

#include <stdbool.h>

typedef enum Hook {
        HOOK_CHECK_CREDENTIALS,
        HOOK_GET_PEERCRED,
        HOOK_HANDLE_CONNECTION_REPL,
        HOOK_HANDLE_CONNECTION_EXEC,
        HOOK_HANDLE_REPL,
        _HOOK_MAX,
} Hook;

/* Remembers our own functions of these names. GIL held. 0, or -1 with an exception set. */
int hooks_setup(PyObject *module);

/* notice(name, value): the package's attribute has changed. GIL held. */
PyObject *hooks_notice(PyObject *self, PyObject *args);

/* Whether the application has put another one in its place. Any thread. */
bool hooks_replaced(Hook hook);

/* The package's function as it is now. New reference, or NULL with an exception set. GIL held. */
PyObject *hooks_get(Hook hook);
