/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A Python text as it goes to a client: UTF-8, with escapes for what that cannot hold. GIL held.
 */

#include <Python.h>

#include <stddef.h>

typedef struct Text {
        const char *data; /* borrowed from the text itself, or from bytes */
        size_t n;
        PyObject *bytes; /* owned, or NULL */
} Text;

/* Good for as long as @text lives and text_done() is not called. 0, or -1 with an exception set: then there
 * is nothing to be done with. */
int text_encode(PyObject *text, Text *ret);
void text_done(Text *t);
