/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/lines.h"

PyObject *lines_take(Client *c, Py_ssize_t limit) {
        PyObject *line = c->leftover, *head;
        Py_ssize_t n;

        c->leftover = NULL;
        if (line == NULL)
                line = client_read_line(c, "");
        if (line == NULL || limit < 0)
                return line;
        n = PyUnicode_GetLength(line);
        if (n <= limit)
                return line;
        head = PyUnicode_Substring(line, 0, limit);
        c->leftover = PyUnicode_Substring(line, limit, n);
        Py_DECREF(line);
        if (c->leftover == NULL)
                Py_CLEAR(head);
        return head;
}

PyObject *lines_take_all(Client *c) {
        PyObject *lines = PyList_New(0);

        while (lines != NULL) {
                PyObject *line = lines_take(c, -1);
                Py_ssize_t n = line == NULL ? 0 : PyUnicode_GetLength(line);

                if (line == NULL || (n > 0 && PyList_Append(lines, line) < 0))
                        Py_CLEAR(lines);
                Py_XDECREF(line);
                if (n == 0)
                        break;
        }
        return lines;
}

PyObject *lines_read(Client *c, Py_ssize_t limit) {
        PyObject *lines, *empty, *text = NULL;

        /* A terminal: less than what was asked for is an answer. */
        if (limit >= 0)
                return lines_take(c, limit);

        lines = lines_take_all(c);
        empty = PyUnicode_FromString("");
        if (lines != NULL && empty != NULL)
                text = PyUnicode_Join(empty, lines);
        Py_XDECREF(lines);
        Py_XDECREF(empty);
        return text;
}
