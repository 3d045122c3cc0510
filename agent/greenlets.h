/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The greenlets that do not run now: gevent's, eventlet's, and the application's own. Nobody keeps a
 * list of them, so they are looked for among all objects, where the application has imported greenlet.
 * GIL held throughout.
 */

#include <Python.h>

#include <stdbool.h>
#include <stddef.h>

typedef struct Greenlets {
        PyObject *greenlets; /* owned: a list; NULL where there are none */
        PyObject *frames;    /* owned: the newest frame of each */
        bool too_many;       /* objects: they were not looked for */
} Greenlets;

/* @always: among however many objects. Without memory there are none. Leaves no exception. */
void greenlets_collect(bool always, Greenlets *ret);
void greenlets_done(Greenlets *g);

size_t greenlets_count(const Greenlets *g);
