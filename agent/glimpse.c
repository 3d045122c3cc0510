/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/glimpse.h"

#include <stdbool.h>

#include "agent/look.h"

#define DEPTH_MAX 3
#define ITEMS_MAX 10
#define TEXT_MAX 100
#define TYPE_MAX 200
/* Of a number in decimal the time to make it grows faster than its length. */
#define INT_BITS_MAX 512

typedef struct Writer {
        PyObject *parts; /* owned: a list of str */
        Py_ssize_t left; /* characters */
} Writer;

/* 0, or -1 with an exception set. @text is then gone. */
static int put_consume(Writer *w, PyObject *text) {
        Py_ssize_t n;

        if (text != NULL && (n = PyUnicode_GetLength(text)) > w->left) {
                PyObject *cut =
                        w->left > 0 ? PyUnicode_Substring(text, 0, w->left) : PyUnicode_FromString("");

                Py_DECREF(text);
                text = cut != NULL && w->left > 0 ? PyUnicode_FromFormat("%U...", cut) : cut;
                if (text != cut)
                        Py_XDECREF(cut);
                w->left = 0;
        } else if (text != NULL)
                w->left -= n;
        return look_append_consume(w->parts, text);
}

static int put(Writer *w, const char *text) {
        return put_consume(w, PyUnicode_FromString(text));
}

/* `<class 'NAME'>`, whatever the metaclass says. NULL with an exception set. */
static PyObject *type_text(PyObject *type) {
        PyObject *dict = PyObject_GetAttrString((PyObject *)&PyType_Type, "__dict__"), *key = NULL,
                 *repr = NULL, *text = NULL, *cut = NULL;

        if (dict != NULL)
                key = PyUnicode_FromString("__repr__");
        if (key != NULL)
                repr = PyObject_GetItem(dict, key);
        if (repr != NULL)
                text = PyObject_CallFunctionObjArgs(repr, type, NULL);
        if (text != NULL)
                cut = PyUnicode_Substring(text, 0, TYPE_MAX);
        Py_XDECREF(text);
        Py_XDECREF(repr);
        Py_XDECREF(key);
        Py_XDECREF(dict);
        return cut;
}

/* How much a container of C's kind holds, also where a class is derived from it; else -1. */
static Py_ssize_t count(PyObject *o) {
        return PyDict_Check(o)    ? PyDict_Size(o)
               : PyList_Check(o)  ? PyList_Size(o)
               : PyTuple_Check(o) ? PyTuple_Size(o)
                                  : -1;
}

PyObject *glimpse_type(PyObject *type) {
        static const char begin[] = "<class '", end[] = "'>";
        PyObject *text = type_text(type), *name = NULL;

        if (text != NULL)
                name = PyUnicode_Substring(text, sizeof(begin) - 1,
                                           PyUnicode_GetLength(text) - (Py_ssize_t)(sizeof(end) - 1));
        Py_XDECREF(text);
        return name;
}

/* `<NAME object at 0x…>`. */
static int put_object(Writer *w, PyObject *o) {
        PyObject *name = glimpse_type((PyObject *)Py_TYPE(o));
        Py_ssize_t n = count(o);
        int r = -1;

        if (name != NULL && n >= 0)
                r = put_consume(
                        w, PyUnicode_FromFormat("<%U object at %p with %zd items>", name, (void *)o, n));
        else if (name != NULL)
                r = put_consume(w, PyUnicode_FromFormat("<%U object at %p>", name, (void *)o));
        Py_XDECREF(name);
        return r;
}

static int put_int(Writer *w, PyObject *o) {
        PyObject *bits = PyObject_CallMethod(o, "bit_length", NULL);
        int r = -1;

        if (bits != NULL)
                r = PyLong_AsLong(bits) <= INT_BITS_MAX
                            ? put_consume(w, PyObject_Repr(o))
                            : put_consume(w, PyUnicode_FromFormat("<int of %S bits>", bits));
        Py_XDECREF(bits);
        return r;
}

/* Text and bytes. */
static int put_sequence(Writer *w, PyObject *o) {
        Py_ssize_t n = PySequence_Size(o);
        PyObject *begin = PySequence_GetSlice(o, 0, TEXT_MAX);
        int r = -1;

        if (begin != NULL)
                r = put_consume(w, PyObject_Repr(begin));
        Py_XDECREF(begin);
        return r == 0 && n > TEXT_MAX ? put_consume(w, PyUnicode_FromFormat("... (%zd)", n)) : r;
}

static int put_value(Writer *w, PyObject *o, int depth);

/* With what stands before it; more than ITEMS_MAX are counted only. */
static int put_item(Writer *w, PyObject *o, Py_ssize_t i, Py_ssize_t n, int depth) {
        int r = i > 0 ? put(w, ", ") : 0;

        if (r == 0 && (i == ITEMS_MAX || w->left == 0))
                return put_consume(w, PyUnicode_FromFormat("... (%zd)", n)) < 0 ? -1 : 1;
        return r == 0 ? put_value(w, o, depth + 1) : r;
}

static int put_dict(Writer *w, PyObject *o, int depth) {
        Py_ssize_t position = 0, n = PyDict_Size(o);
        PyObject *key, *value;
        int r = put(w, "{");

        for (Py_ssize_t i = 0; r == 0 && PyDict_Next(o, &position, &key, &value); i++) {
                Py_INCREF(key);
                Py_INCREF(value);
                r = put_item(w, key, i, n, depth);
                if (r == 0)
                        r = put(w, ": ");
                if (r == 0)
                        r = put_value(w, value, depth + 1);
                Py_DECREF(key);
                Py_DECREF(value);
        }
        return r < 0 ? r : put(w, "}");
}

/* Lists, tuples and sets, by their iterators, which are C's. One that changes meanwhile ends early. */
static int put_items(Writer *w, PyObject *o, const char *begin, const char *end, int depth) {
        Py_ssize_t n = PyObject_Size(o);
        PyObject *iterator = PyObject_GetIter(o), *item;
        int r = iterator != NULL ? put(w, begin) : -1;

        for (Py_ssize_t i = 0; r == 0 && (item = PyIter_Next(iterator)) != NULL; i++) {
                r = put_item(w, item, i, n, depth);
                Py_DECREF(item);
        }
        if (r >= 0)
                PyErr_Clear();
        Py_XDECREF(iterator);
        return r < 0 ? r : put(w, end);
}

static int put_container(Writer *w, PyObject *o, int depth) {
        if (depth == DEPTH_MAX)
                return put(w, "...");
        if (Py_TYPE(o) == &PyDict_Type)
                return put_dict(w, o, depth);
        if (Py_TYPE(o) == &PyList_Type)
                return put_items(w, o, "[", "]", depth);
        if (Py_TYPE(o) == &PyTuple_Type)
                return put_items(w, o, "(", PyTuple_Size(o) == 1 ? ",)" : ")", depth);
        if (Py_TYPE(o) == &PyFrozenSet_Type)
                return put_items(w, o, "frozenset({", "})", depth);
        return PyObject_Size(o) > 0 ? put_items(w, o, "{", "}", depth) : put(w, "set()");
}

static int put_value(Writer *w, PyObject *o, int depth) {
        PyTypeObject *type = Py_TYPE(o);

        if (o == Py_None || type == &PyBool_Type || type == &PyFloat_Type || type == &PyComplex_Type)
                return put_consume(w, PyObject_Repr(o));
        if (type == &PyLong_Type)
                return put_int(w, o);
        if (type == &PyUnicode_Type || type == &PyBytes_Type || type == &PyByteArray_Type)
                return put_sequence(w, o);
        if (type == &PyDict_Type || type == &PyList_Type || type == &PyTuple_Type || type == &PySet_Type ||
            type == &PyFrozenSet_Type)
                return put_container(w, o, depth);
        if (PyType_Check(o))
                return put_consume(w, type_text(o));
        return put_object(w, o);
}

PyObject *glimpse(PyObject *object, Py_ssize_t max) {
        PyObject *empty = PyUnicode_FromString(""), *text = NULL;
        Writer w = { .parts = PyList_New(0), .left = max };

        if (empty != NULL && w.parts != NULL && put_value(&w, object, 0) == 0)
                text = PyUnicode_Join(empty, w.parts);
        Py_XDECREF(w.parts);
        Py_XDECREF(empty);
        return text;
}
