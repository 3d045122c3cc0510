/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/look.h"

PyObject *look_attribute(PyObject *object, const char *name) {
        PyObject *key = PyUnicode_InternFromString(name), *value = NULL;

        if (key != NULL)
                value = PyObject_GenericGetAttr(object, key);
        if (value == NULL)
                PyErr_Clear();
        Py_XDECREF(key);
        return value;
}

int look_append_consume(PyObject *lines, PyObject *text) {
        int r = text == NULL ? -1 : PyList_Append(lines, text);

        Py_XDECREF(text);
        return r;
}
