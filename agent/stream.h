/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The router that stands in for a standard stream while consoles exist. GIL held throughout.
 *
 * To the thread of a console it is the client's terminal. To every other thread it is the stream it
 * stands in for, attribute by attribute; what such a thread writes reaches the original first, with
 * the original's result or exception, and the consoles get a copy that never waits and never fails.
 *
 * Routers live for ever: print() holds a borrowed reference to sys.stdout, and an application may
 * keep one for as long as it likes.
 */

#include <Python.h>

#include <stdbool.h>

typedef enum StreamKind {
        STREAM_STDIN,
        STREAM_STDOUT,
        STREAM_STDERR,
        _STREAM_KIND_MAX,
} StreamKind;

/* A new router without an original. */
PyObject *stream_new(StreamKind kind);
bool stream_check(PyObject *object);

/* What it stands in for; never a router. */
void stream_set_original(PyObject *stream, PyObject *original);
PyObject *stream_original(PyObject *stream); /* borrowed */
