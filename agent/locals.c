/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/locals.h"

#include <stdbool.h>

#include "agent/glimpse.h"
#include "agent/look.h"

#define NAMES_MAX 50
#define VALUE_MAX 300

#define CODE_OPTIMIZED 1 /* inspect.CO_OPTIMIZED: a function's */

static bool is_function(PyObject *code) {
        PyObject *flags = look_attribute(code, "co_flags");
        bool function = flags != NULL && (PyLong_AsLong(flags) & CODE_OPTIMIZED) != 0;

        PyErr_Clear();
        Py_XDECREF(flags);
        return function;
}

static bool is_module(PyObject *code) {
        PyObject *name = look_attribute(code, "co_name");
        bool module = name != NULL && PyUnicode_CompareWithASCIIString(name, "<module>") == 0;

        Py_XDECREF(name);
        return module;
}

/*
 * A dict of our own or the frame's, or NULL without an exception. A class that is being made may have
 * a namespace of the application's kind, which would be asked: it is left out. Since 3.13 a frame has
 * a view of its variables.
 */
static PyObject *get_variables(PyObject *frame, bool function) {
        PyObject *variables = look_attribute(frame, function ? "f_locals" : "f_globals"), *copy;

        if (variables == NULL || Py_TYPE(variables) == &PyDict_Type)
                return variables;
        copy = function ? PyObject_CallMethod(variables, "copy", NULL) : NULL;
        PyErr_Clear();
        Py_DECREF(variables);
        if (copy != NULL && Py_TYPE(copy) != &PyDict_Type)
                Py_CLEAR(copy);
        return copy;
}

/* Of a module what is data: not what it has defined or imported. */
static bool is_shown(PyObject *name, PyObject *value, bool function) {
        if (Py_TYPE(name) != &PyUnicode_Type)
                return false;
        return function || (!PyCallable_Check(value) && !PyModule_Check(value) &&
                            (PyUnicode_GetLength(name) < 2 || PyUnicode_ReadChar(name, 0) != '_' ||
                             PyUnicode_ReadChar(name, 1) != '_'));
}

static int append_variable(PyObject *lines, PyObject *name, PyObject *value, Py_ssize_t *left) {
        PyObject *text, *line = NULL;

        Py_INCREF(name);
        Py_INCREF(value);
        text = glimpse(value, VALUE_MAX);
        if (text != NULL)
                line = PyUnicode_FromFormat("    %U = %U\n", name, text);
        if (line != NULL)
                *left -= PyUnicode_GetLength(line);
        Py_XDECREF(text);
        Py_DECREF(value);
        Py_DECREF(name);
        return look_append_consume(lines, line);
}

int locals_append(PyObject *lines, PyObject *frame, Py_ssize_t *left) {
        PyObject *code = look_attribute(frame, "f_code"), *variables = NULL, *name, *value;
        bool function = code != NULL && is_function(code);
        Py_ssize_t position = 0, n = 0;
        int r = 0;

        if (*left > 0 && (function || (code != NULL && is_module(code))))
                variables = get_variables(frame, function);
        while (variables != NULL && r == 0 && PyDict_Next(variables, &position, &name, &value)) {
                if (!is_shown(name, value, function))
                        continue;
                if (n++ == NAMES_MAX || *left <= 0) {
                        r = look_append_consume(lines, PyUnicode_FromString("    ...\n"));
                        break;
                }
                r = append_variable(lines, name, value, left);
        }
        Py_XDECREF(variables);
        Py_XDECREF(code);
        return r;
}
