/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Compiles what was typed at the prompt, as codeop does. GIL held. Runs no user code.
 *
 * codeop compiles two or three times, to tell an error from what is not complete, and sets the warnings
 * aside meanwhile. A line that compiles at once is complete: its answer is the same without all that, as
 * long as there is nothing to warn of, twice or not at all.
 */

#include <Python.h>

/* Like @compiler(@source, @file_name, "single"), which is codeop's or does as it does. */
PyObject *compile_typed(PyObject *compiler, PyObject *source, const char *file_name);
