/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A descriptor as a real socket object of Python's, for functions of the application. GIL held.
 */

#include <Python.h>

/* Takes over @fd, also on failure; makes it blocking. NULL with an exception set. */
PyObject *pysocket_new_consume(int fd);

/* Closes it, whatever the application has done with it; keeps an exception that is set. Takes NULL. */
void pysocket_free(PyObject *socket);
