/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What a fresh console knows. GIL held.
 */

#include <Python.h>

/* A module that cannot be imported any more (the application has changed its root or its user) is left
 * out. New reference, or NULL with an exception set. */
PyObject *namespace_new(void);
