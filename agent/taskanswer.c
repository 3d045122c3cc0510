/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/taskanswer.h"

#include <stdio.h>
#include <string.h>

#include "agent/aiotree.h"
#include "agent/frames.h"
#include "agent/glimpse.h"
#include "agent/greenlets.h"
#include "agent/look.h"
#include "lib/frame.h"

/* Of JSON text. A task and a greenlet may each go beyond. */
#define TEXT_MAX (256U * 1024U)
#define TASKS_MAX (400U * 1024U)
#define STACK_MAX 64
#define STRING_MAX 1024U
_Static_assert(TEXT_MAX + TASKS_MAX + 2 * STACK_MAX * (2 * STRING_MAX + 128) < FRAME_PAYLOAD_MAX,
               "an answer must fit in a frame");

typedef struct Json {
        JsonBuffer *b;
        PyObject *lines; /* of the text: a tree */
        size_t begin, n;
        size_t n_all; /* tasks and greenlets, shown or not */
} Json;

/* Cut where it is too long; null for what is no text. */
static void add_text(JsonBuffer *b, PyObject *text, size_t max) {
        PyObject *bytes = NULL;

        if (text != NULL && PyUnicode_Check(text))
                bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
        if (bytes != NULL)
                (void)jsonbuf_string(b, PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes), max);
        else
                jsonbuf_raw(b, "null");
        PyErr_Clear();
        Py_XDECREF(bytes);
}

/* An address, which may be no number that a reader of JSON can hold. */
static void add_id(JsonBuffer *b, const void *object) {
        char text[32];

        snprintf(text, sizeof(text), "\"%p\"", object);
        jsonbuf_raw(b, text);
}

static void add_ids(JsonBuffer *b, const AioTasks *all, size_t edge, bool awaited) {
        jsonbuf_raw(b, "[");
        for (size_t i = 0; edge != AIO_NONE && i < STACK_MAX; i++) {
                const AioEdge *e = &all->edges[edge];

                if (i > 0)
                        jsonbuf_raw(b, ",");
                add_id(b, all->tasks[awaited ? e->awaited : e->waiter].task);
                edge = awaited ? e->next_awaited : e->next_waiter;
        }
        jsonbuf_raw(b, "]");
}

static void add_frames(JsonBuffer *b, PyObject *frames) {
        bool first = true;

        jsonbuf_raw(b, "[");
        for (Py_ssize_t i = 0; i < PyList_Size(frames) && i < STACK_MAX; i++) {
                FramePlace p;

                if (!frames_place(PyList_GetItem(frames, i), &p))
                        continue;
                jsonbuf_raw(b, first ? "{\"file\":" : ",{\"file\":");
                add_text(b, p.file, STRING_MAX);
                jsonbuf_raw(b, ",\"line\":");
                if (PyLong_Check(p.number))
                        jsonbuf_integer(b, PyLong_AsLong(p.number));
                else
                        jsonbuf_raw(b, "null");
                jsonbuf_raw(b, ",\"function\":");
                add_text(b, p.name, STRING_MAX);
                jsonbuf_raw(b, "}");
                frames_place_done(&p);
                first = false;
        }
        jsonbuf_raw(b, "]");
}

static void add_task(JsonBuffer *b, const AioTasks *all, const AioTask *t, PyObject *frames) {
        jsonbuf_raw(b, "{\"id\":");
        add_id(b, t->task);
        jsonbuf_raw(b, ",\"name\":");
        add_text(b, t->name, STRING_MAX);
        jsonbuf_raw(b, ",\"state\":\"");
        jsonbuf_raw(b, aiotree_state(t->state));
        jsonbuf_raw(b, "\",\"thread\":");
        if (t->thread_id != 0)
                jsonbuf_integer(b, (long long)t->thread_id);
        else
                jsonbuf_raw(b, "null");
        jsonbuf_raw(b, ",\"waits_for\":");
        add_ids(b, all, t->awaited, true);
        jsonbuf_raw(b, ",\"awaited_by\":");
        add_ids(b, all, t->waiters, false);
        jsonbuf_raw(b, ",\"stack\":");
        add_frames(b, frames);
        jsonbuf_raw(b, "}");
}

/* `  "NAME": waiting in FUNCTION (FILE:LINE)`, indented by depth. */
static int append_line(PyObject *lines, const AioTask *t, size_t depth, PyObject *frames) {
        Py_ssize_t n = PyList_Size(frames);
        PyObject *name = aiotree_quote(t);
        int indent = (int)(depth < 32 ? depth : 32) * 2;
        FramePlace p;
        int r = -1;

        if (name != NULL && n > 0 && frames_place(PyList_GetItem(frames, n - 1), &p)) {
                char space[65];

                snprintf(space, sizeof(space), "%*s", indent, "");
                r = look_append_consume(lines, PyUnicode_FromFormat("%s%U: %s in %U (%U:%S)\n", space, name,
                                                                    aiotree_state(t->state), p.name, p.file,
                                                                    p.number));
                frames_place_done(&p);
        } else if (name != NULL)
                r = look_append_consume(lines,
                                        PyUnicode_FromFormat("%U: %s\n", name, aiotree_state(t->state)));
        Py_XDECREF(name);
        return r;
}

/* The frame and those that called it, the oldest first. NULL with an exception set. */
static PyObject *greenlet_frames(PyObject *frame) {
        PyObject *frames = frames_collect(frame), *r = NULL;

        if (frames != NULL)
                r = PyObject_CallMethod(frames, "reverse", NULL);
        if (r == NULL)
                Py_CLEAR(frames);
        Py_XDECREF(r);
        return frames;
}

static int add_greenlet(Json *j, PyObject *greenlet, PyObject *frame) {
        PyObject *frames = greenlet_frames(frame), *type = glimpse_type((PyObject *)Py_TYPE(greenlet));
        FramePlace p;
        int r = -1;

        if (frames != NULL && type != NULL) {
                jsonbuf_raw(j->b, j->n++ > 0 ? ",{\"id\":" : "{\"id\":");
                add_id(j->b, greenlet);
                jsonbuf_raw(j->b, ",\"type\":");
                add_text(j->b, type, STRING_MAX);
                jsonbuf_raw(j->b, ",\"stack\":");
                add_frames(j->b, frames);
                jsonbuf_raw(j->b, "}");
                r = 0;
                if (frames_place(frame, &p)) {
                        r = look_append_consume(
                                j->lines, PyUnicode_FromFormat("Greenlet %p: in %U (%U:%S)\n",
                                                               (void *)greenlet, p.name, p.file, p.number));
                        frames_place_done(&p);
                }
        }
        Py_XDECREF(type);
        Py_XDECREF(frames);
        return r;
}

/* Returns whether these are all. */
static bool add_greenlets(Json *j) {
        Greenlets g;
        size_t n, i;
        int r = 0;

        greenlets_collect(true, &g);
        n = greenlets_count(&g);
        j->n = 0;
        for (i = 0; r == 0 && i < n && j->b->n_data - j->begin <= TASKS_MAX; i++)
                r = add_greenlet(j, PyList_GetItem(g.greenlets, (Py_ssize_t)i),
                                 PyList_GetItem(g.frames, (Py_ssize_t)i));
        j->n_all += n;
        greenlets_done(&g);
        return r == 0 && i == n;
}

static int visit_json(AioTasks *all, size_t task, size_t depth, void *arg) {
        const AioTask *t = &all->tasks[task];
        Json *j = arg;
        PyObject *frames;
        int r;

        if (j->b->n_data - j->begin > TASKS_MAX)
                return 1;
        frames = aiotree_frames(t);
        if (frames == NULL)
                return -1;
        if (j->n++ > 0)
                jsonbuf_raw(j->b, ",");
        add_task(j->b, all, t, frames);
        r = append_line(j->lines, t, depth, frames);
        Py_DECREF(frames);
        return r;
}

static bool add_tree(JsonBuffer *b, PyObject *lines) {
        PyObject *empty = PyUnicode_FromString(""), *text = NULL, *bytes = NULL;
        bool whole = false;

        if (empty != NULL)
                text = PyUnicode_Join(empty, lines);
        if (text != NULL)
                bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
        if (bytes != NULL)
                whole = jsonbuf_string(b, PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes), TEXT_MAX);
        else
                jsonbuf_raw(b, "null");
        Py_XDECREF(bytes);
        Py_XDECREF(text);
        Py_XDECREF(empty);
        return whole;
}

void taskanswer_make(Session *s, const char *payload, size_t n_payload, JsonBuffer *ret) {
        Json j = { .b = ret, .lines = PyList_New(0) };
        AioTasks all;
        bool whole;

        if (j.lines == NULL) {
                PyErr_Clear();
                return;
        }
        aio_collect(&all);
        j.n_all = all.n_tasks + all.n_left_out;
        jsonbuf_raw(ret, "{\"tasks\":[");
        j.begin = ret->n_data;
        whole = aiotree_walk(&all, visit_json, &j) == 0 && all.n_left_out == 0;
        aio_done(&all);
        jsonbuf_raw(ret, "],\"greenlets\":[");
        whole &= add_greenlets(&j);
        jsonbuf_raw(ret, "],\"text\":");
        whole &= add_tree(ret, j.lines);
        if (!whole) {
                jsonbuf_raw(ret, ",\"truncated\":true,\"n_all\":");
                jsonbuf_integer(ret, (long long)j.n_all);
        }
        jsonbuf_raw(ret, "}");
        PyErr_Clear();
        Py_DECREF(j.lines);
}
