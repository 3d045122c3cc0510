/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/awaits.h"

#include <string.h>

#include "agent/coroutine.h"
#include "agent/look.h"

/* A chain may be as long as the limit of recursion allows. */
#define AWAITS_MAX 200

/* Coroutines, generators and asynchronous generators have the same under different names. */
static const struct {
        const char *frame, *awaited, *runs;
} kinds[] = {
        { "cr_frame", "cr_await", "cr_running" },
        { "gi_frame", "gi_yieldfrom", "gi_running" },
        { "ag_frame", "ag_await", "ag_running" },
};

/* A class of the application might answer anything. */
static bool is_static(PyObject *object) {
        return (PyType_GetFlags(Py_TYPE(object)) & Py_TPFLAGS_HEAPTYPE) == 0;
}

/* The index in kinds, or -1. */
static int find_kind(PyObject *object) {
        for (int i = 0; is_static(object) && i < (int)(sizeof(kinds) / sizeof(kinds[0])); i++) {
                PyObject *frame = look_attribute(object, kinds[i].frame);

                Py_XDECREF(frame);
                if (frame != NULL)
                        return i;
        }
        return -1;
}

/* What stands between an await and its coroutine (`async for`, `__await__()`) says nothing of it, but
 * refers to it. A new reference, or NULL without an exception. */
static PyObject *look_through(PyObject *object) {
        PyObject *gc = NULL, *referents = NULL, *found = NULL;

        if (is_static(object))
                gc = PyImport_ImportModule("gc");
        if (gc != NULL)
                referents = PyObject_CallMethod(gc, "get_referents", "O", object);
        if (referents != NULL && PyList_Check(referents))
                for (Py_ssize_t i = 0; found == NULL && i < PyList_Size(referents); i++)
                        if (find_kind(PyList_GetItem(referents, i)) >= 0)
                                found = PyList_GetItem(referents, i);
        Py_XINCREF(found);
        PyErr_Clear();
        Py_XDECREF(referents);
        Py_XDECREF(gc);
        return found;
}

int awaits_frames(PyObject *coroutine, PyObject *frames) {
        PyObject *o = coroutine_inner(coroutine);
        int r = 0;

        Py_INCREF(o);
        for (int i = 0; r == 0 && o != NULL && o != Py_None && i < AWAITS_MAX; i++) {
                int kind = find_kind(o);
                PyObject *next;

                if (kind >= 0) {
                        PyObject *frame = look_attribute(o, kinds[kind].frame);

                        if (frame != NULL && frame != Py_None)
                                r = PyList_Append(frames, frame);
                        Py_XDECREF(frame);
                        next = look_attribute(o, kinds[kind].awaited);
                } else
                        next = look_through(o);
                Py_DECREF(o);
                o = next;
        }
        Py_XDECREF(o);
        return r;
}

bool awaits_runs(PyObject *coroutine) {
        PyObject *inner = coroutine_inner(coroutine), *runs;
        int kind = find_kind(inner);

        runs = kind >= 0 ? look_attribute(inner, kinds[kind].runs) : NULL;

        Py_XDECREF(runs);
        return runs == Py_True;
}
