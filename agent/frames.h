/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Python frames as text, in python-manhole's words. Reads what frames say of themselves and source
 * lines as `traceback` would find them; no code of the application runs but the loader of a module
 * whose source is in no file. GIL held throughout.
 */

#include <Python.h>

#include <stdbool.h>

typedef struct Frames {
        PyObject *linecache; /* owned; NULL: no source lines */
        PyObject *cache;     /* owned: linecache.cache, or NULL */
        PyObject *sources;   /* owned: by file name what was found in this dump */
        Py_ssize_t locals;   /* so many characters of local variables may follow */
} Frames;

/* Where a frame is. */
typedef struct FramePlace {
        PyObject *file;   /* owned: a str */
        PyObject *number; /* owned: of the line; an int, or None */
        PyObject *name;   /* owned: a str */
} FramePlace;

#define FRAMES_INIT ((Frames){})

/* Looks at each source file once. Without memory or a standard library there are fewer lines. */
void frames_init(Frames *f, bool locals);
void frames_done(Frames *f);

/* False for what is no frame, without an exception. */
bool frames_place(PyObject *frame, FramePlace *ret);
void frames_place_done(FramePlace *p);

/* Appends one frame to a list of str. 0, or -1 with an exception set. */
int frames_append(Frames *f, PyObject *lines, PyObject *frame);

/* A frame and those that called it, the newest first: a new list, or NULL with an exception set. */
PyObject *frames_collect(PyObject *frame);

/* Appends a frame and those that called it, the oldest first. */
int frames_append_stack(Frames *f, PyObject *lines, PyObject *frame);
