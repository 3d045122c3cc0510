/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/stacks.h"

#include <unistd.h>

#define STACKS_END "#############################################\n\n\n"

static int append(PyObject *lines, PyObject *line) {
        int r = line == NULL ? -1 : PyList_Append(lines, line);

        Py_XDECREF(line);
        return r;
}

static int append_frame(PyObject *lines, PyObject *summary) {
        PyObject *file = PyObject_GetAttrString(summary, "filename"),
                 *number = PyObject_GetAttrString(summary, "lineno"),
                 *name = PyObject_GetAttrString(summary, "name"),
                 *source = PyObject_GetAttrString(summary, "line");
        int r = -1;

        if (file != NULL && number != NULL && name != NULL && source != NULL) {
                r = append(lines,
                           PyUnicode_FromFormat("File: \"%S\", line %S, in %S\n", file, number, name));
                if (r == 0 && PyObject_IsTrue(source) == 1)
                        r = append(lines, PyUnicode_FromFormat("  %S\n", source));
        }
        Py_XDECREF(file);
        Py_XDECREF(number);
        Py_XDECREF(name);
        Py_XDECREF(source);
        return r;
}

static int append_thread(PyObject *lines, PyObject *traceback, PyObject *id, PyObject *frame) {
        PyObject *summaries, *iterator, *summary;
        int r;

        r = append(lines, PyUnicode_FromFormat("\n######### ProcessID=%ld, ThreadID=%S #########\n",
                                               (long)getpid(), id));
        if (r < 0)
                return r;
        summaries = PyObject_CallMethod(traceback, "extract_stack", "(O)", frame);
        iterator = summaries == NULL ? NULL : PyObject_GetIter(summaries);
        while (r == 0 && iterator != NULL && (summary = PyIter_Next(iterator)) != NULL) {
                r = append_frame(lines, summary);
                Py_DECREF(summary);
        }
        Py_XDECREF(iterator);
        Py_XDECREF(summaries);
        return PyErr_Occurred() ? -1 : r;
}

PyObject *stacks_format(void) {
        PyObject *traceback = PyImport_ImportModule("traceback"), *frames = NULL, *lines = PyList_New(0),
                 *empty = PyUnicode_FromString(""), *text = NULL, *get, *id, *frame;
        Py_ssize_t position = 0;
        int r = 0;

        get = PySys_GetObject("_current_frames");
        if (get != NULL)
                frames = PyObject_CallObject(get, NULL);
        if (traceback != NULL && frames != NULL && lines != NULL && empty != NULL) {
                while (r == 0 && PyDict_Next(frames, &position, &id, &frame))
                        r = append_thread(lines, traceback, id, frame);
                if (r == 0)
                        r = append(lines, PyUnicode_FromString(STACKS_END));
                if (r == 0)
                        text = PyUnicode_Join(empty, lines);
        }
        Py_XDECREF(traceback);
        Py_XDECREF(frames);
        Py_XDECREF(lines);
        Py_XDECREF(empty);
        return text;
}
