/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/greenlets.h"

#include "agent/look.h"

/* As sys.getallocatedblocks() counts: about 25 ms, during which the application waits. */
#define BLOCKS_MAX 2000000

/* Whether to walk over all objects takes long. */
static bool is_large(void) {
        PyObject *get = PySys_GetObject("getallocatedblocks"), *n = NULL; /* borrowed */
        bool large;

        if (get != NULL)
                n = PyObject_CallObject(get, NULL);
        large = n != NULL && PyLong_AsLong(n) > BLOCKS_MAX;
        PyErr_Clear();
        Py_XDECREF(n);
        return large;
}

static PyObject *all_objects(void) {
        PyObject *gc = PyImport_ImportModule("gc"), *objects = NULL;

        if (gc != NULL)
                objects = PyObject_CallMethod(gc, "get_objects", NULL);
        if (objects != NULL && !PyList_Check(objects))
                Py_CLEAR(objects);
        PyErr_Clear();
        Py_XDECREF(gc);
        return objects;
}

/* The class's own word for its frame: the application may have derived one that says otherwise. */
static int add(Greenlets *g, PyObject *greenlet, PyObject *get_frame) {
        PyObject *frame = PyObject_CallMethod(get_frame, "__get__", "O", greenlet);
        int r = 0;

        PyErr_Clear();
        if (frame != NULL && frame != Py_None) {
                r = PyList_Append(g->frames, frame);
                if (r == 0)
                        r = PyList_Append(g->greenlets, greenlet);
        }
        Py_XDECREF(frame);
        return r;
}

static void find(Greenlets *g, PyObject *type, PyObject *get_frame) {
        PyObject *objects = all_objects();
        int r = objects != NULL ? 0 : -1;

        for (Py_ssize_t i = 0; r == 0 && i < PyList_Size(objects); i++) {
                PyObject *object = PyList_GetItem(objects, i); /* borrowed of a list of our own */

                if (PyType_IsSubtype(Py_TYPE(object), (PyTypeObject *)type))
                        r = add(g, object, get_frame);
        }
        PyErr_Clear();
        Py_XDECREF(objects);
}

void greenlets_collect(bool always, Greenlets *ret) {
        PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), "greenlet"); /* borrowed */
        PyObject *type = NULL, *get_frame = NULL;
        Greenlets g = {};

        if (module != NULL)
                type = PyObject_GetAttrString(module, "greenlet");
        if (type != NULL && PyType_Check(type))
                get_frame = PyObject_GetAttrString(type, "gr_frame");
        if (get_frame != NULL && !always)
                g.too_many = is_large();
        if (get_frame != NULL && !g.too_many) {
                g.greenlets = PyList_New(0);
                g.frames = PyList_New(0);
        }
        PyErr_Clear();
        if (g.greenlets != NULL && g.frames != NULL)
                find(&g, type, get_frame);
        Py_XDECREF(get_frame);
        Py_XDECREF(type);
        *ret = g;
}

void greenlets_done(Greenlets *g) {
        Py_CLEAR(g->greenlets);
        Py_CLEAR(g->frames);
}

size_t greenlets_count(const Greenlets *g) {
        return g->greenlets != NULL && g->frames != NULL ? (size_t)PyList_Size(g->greenlets) : 0;
}
