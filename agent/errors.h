/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The documented exceptions. GIL held.
 */

#include <Python.h>

typedef enum Error {
        ERROR_ALREADY_INSTALLED,
        ERROR_NOT_INSTALLED,
        ERROR_CONFIGURATION_CONFLICT,
        ERROR_SUSPICIOUS_CLIENT,
        _ERROR_MAX,
} Error;

/* Creates them and adds them to the module. 0, or -1 with an exception set. */
int errors_setup(PyObject *module);

/* Borrowed, for good. */
PyObject *errors_get(Error error);
