/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/frames.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "agent/changed.h"
#include "agent/locals.h"
#include "agent/look.h"

/* Of a stack without end, so many at its beginning and at its end. */
#define FRAMES_AT_AN_END 500

void frames_init(Frames *f, bool locals) {
        *f = FRAMES_INIT;
        f->locals = locals ? LOCALS_TOTAL_MAX : 0;
        f->sources = PyDict_New();
        f->linecache = PyImport_ImportModule("linecache");
        if (f->linecache != NULL)
                f->cache = PyObject_GetAttrString(f->linecache, "cache");
        if (f->cache != NULL && !PyDict_Check(f->cache))
                Py_CLEAR(f->cache);
        PyErr_Clear();
}

void frames_done(Frames *f) {
        Py_CLEAR(f->linecache);
        Py_CLEAR(f->cache);
        Py_CLEAR(f->sources);
}

static bool look_at_file(PyObject *file, struct statx *ret) {
        PyObject *path = NULL;
        bool found;

        found = PyUnicode_FSConverter(file, &path) && PyBytes_Size(path) > 0 &&
                changed_look(AT_FDCWD, PyBytes_AsString(path), ret);
        PyErr_Clear();
        Py_XDECREF(path);
        return found;
}

/* The lines that linecache keeps, if they are those of the file as it is now; @st: NULL where there is
 * none. Borrowed. */
static PyObject *cached_lines(Frames *f, PyObject *file, const struct statx *st) {
        PyObject *entry = f->cache != NULL ? PyDict_GetItem(f->cache, file) : NULL; /* borrowed */
        PyObject *size, *modified, *lines;

        if (entry == NULL || !PyTuple_Check(entry) || PyTuple_Size(entry) != 4)
                return NULL;
        size = PyTuple_GetItem(entry, 0);
        modified = PyTuple_GetItem(entry, 1);
        lines = PyTuple_GetItem(entry, 2);
        if (!PyList_Check(lines))
                return NULL;
        /* Not from a file. */
        if (modified == Py_None)
                return lines;
        if (!PyFloat_Check(modified) || st == NULL)
                return NULL;
        /* In the words that os.stat() has for it. */
        if (PyFloat_AsDouble(modified) != (double)st->stx_mtime.tv_sec + 1e-9 * st->stx_mtime.tv_nsec ||
            PyLong_AsLong(size) != (long)st->stx_size) {
                PyErr_Clear();
                return NULL;
        }
        return lines;
}

/* As traceback would read them. A new reference, or NULL without an exception. */
static PyObject *read_lines(Frames *f, PyObject *file, PyObject *frame) {
        PyObject *globals = NULL, *checked = NULL, *lines = NULL;

        if (f->linecache == NULL)
                return NULL;
        globals = look_attribute(frame, "f_globals");
        checked = PyObject_CallMethod(f->linecache, "checkcache", "O", file);
        if (checked != NULL && globals != NULL)
                lines = PyObject_CallMethod(f->linecache, "getlines", "OO", file, globals);
        if (lines != NULL && !PyList_Check(lines))
                Py_CLEAR(lines);
        PyErr_Clear();
        Py_XDECREF(checked);
        Py_XDECREF(globals);
        return lines;
}

/* What there is of a file: a list of lines, a str to show instead of any, or None. A new reference, or
 * NULL without an exception. */
static PyObject *read_source(Frames *f, PyObject *file, PyObject *frame) {
        struct statx st;
        bool found = look_at_file(file, &st);
        PyObject *source;

        if (found && changed_since(&st))
                return PyUnicode_FromString(CHANGED_REMARK);
        source = cached_lines(f, file, found ? &st : NULL);
        if (source == NULL)
                source = read_lines(f, file, frame);
        else
                Py_INCREF(source);
        if (source == NULL) {
                Py_INCREF(Py_None);
                source = Py_None;
        }
        return source;
}

/* Once for each file. A new reference, or NULL without an exception. */
static PyObject *find_source(Frames *f, PyObject *file, PyObject *frame) {
        PyObject *source = f->sources != NULL ? PyDict_GetItem(f->sources, file) : NULL; /* borrowed */

        if (source != NULL) {
                Py_INCREF(source);
                return source;
        }
        source = read_source(f, file, frame);
        if (source != NULL && f->sources != NULL && PyDict_SetItem(f->sources, file, source) < 0)
                PyErr_Clear();
        return source;
}

/* The line without its indentation and end, or NULL without an exception. */
static PyObject *source_line(Frames *f, PyObject *file, PyObject *number, PyObject *frame) {
        PyObject *source, *line = NULL, *stripped = NULL;
        long n = PyLong_Check(number) ? PyLong_AsLong(number) : 0;

        source = find_source(f, file, frame);
        if (source != NULL && PyList_Check(source) && n >= 1 && n <= PyList_Size(source))
                line = PyList_GetItem(source, n - 1); /* borrowed, of a list that we keep */
        if (source != NULL && PyUnicode_Check(source))
                line = source;
        if (line != NULL && PyUnicode_Check(line))
                stripped = PyObject_CallMethod(line, "strip", NULL);
        PyErr_Clear();
        Py_XDECREF(source);
        if (stripped != NULL && PyUnicode_GetLength(stripped) == 0)
                Py_CLEAR(stripped);
        return stripped;
}

bool frames_place(PyObject *frame, FramePlace *ret) {
        PyObject *code = look_attribute(frame, "f_code");
        FramePlace p = { .number = look_attribute(frame, "f_lineno") };

        if (code != NULL) {
                p.file = look_attribute(code, "co_filename");
                p.name = look_attribute(code, "co_name");
        }
        Py_XDECREF(code);
        if (p.number == NULL || p.file == NULL || p.name == NULL || !PyUnicode_Check(p.file) ||
            !PyUnicode_Check(p.name)) {
                frames_place_done(&p);
                return false;
        }
        *ret = p;
        return true;
}

void frames_place_done(FramePlace *p) {
        Py_CLEAR(p->name);
        Py_CLEAR(p->number);
        Py_CLEAR(p->file);
}

int frames_append(Frames *f, PyObject *lines, PyObject *frame) {
        PyObject *line;
        FramePlace p;
        int r;

        if (!frames_place(frame, &p))
                return 0;
        r = look_append_consume(
                lines, PyUnicode_FromFormat("File: \"%U\", line %S, in %U\n", p.file, p.number, p.name));
        line = r == 0 ? source_line(f, p.file, p.number, frame) : NULL;
        if (line != NULL)
                r = look_append_consume(lines, PyUnicode_FromFormat("  %U\n", line));
        Py_XDECREF(line);
        frames_place_done(&p);
        return r == 0 && f->locals > 0 ? locals_append(lines, frame, &f->locals) : r;
}

PyObject *frames_collect(PyObject *frame) {
        PyObject *frames = PyList_New(0);

        Py_INCREF(frame);
        while (frames != NULL && frame != NULL && frame != Py_None) {
                PyObject *back;

                if (PyList_Append(frames, frame) < 0)
                        Py_CLEAR(frames);
                back = look_attribute(frame, "f_back");
                Py_DECREF(frame);
                frame = back;
        }
        Py_XDECREF(frame);
        return frames;
}

int frames_append_stack(Frames *f, PyObject *lines, PyObject *frame) {
        PyObject *frames = frames_collect(frame);
        Py_ssize_t n = frames != NULL ? PyList_Size(frames) : 0;
        int r = frames != NULL ? 0 : -1;

        for (Py_ssize_t i = n - 1; r == 0 && i >= 0; i--) {
                if (n > 2 * FRAMES_AT_AN_END && i == n - 1 - FRAMES_AT_AN_END) {
                        r = look_append_consume(
                                lines, PyUnicode_FromFormat("(%zd more)\n", n - 2 * FRAMES_AT_AN_END));
                        i = FRAMES_AT_AN_END - 1;
                }
                if (r == 0)
                        r = frames_append(f, lines, PyList_GetItem(frames, i));
        }
        Py_XDECREF(frames);
        return r;
}
