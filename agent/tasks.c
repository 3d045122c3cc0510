/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/tasks.h"

#include <stdio.h>
#include <string.h>

#include "agent/aio.h"
#include "agent/awaits.h"
#include "agent/look.h"
#include "lib/frame.h"

/* What a console begins with is to be read. */
#define BLOCKS_MAX 200
#define NAMES_MAX 5
#define NAME_MAX_SHOWN 100

/* Of JSON text. */
#define TEXT_MAX (256U * 1024U)
#define TASKS_MAX (400U * 1024U)
#define STACK_MAX 64
#define STRING_MAX 1024U
_Static_assert(TEXT_MAX + TASKS_MAX + STACK_MAX * (2 * STRING_MAX + 128) + STRING_MAX < FRAME_PAYLOAD_MAX,
               "an answer must fit in a frame");

static const char *const states[] = {
        [AIO_READY] = "ready",
        [AIO_RUNNING] = "running",
        [AIO_WAITING] = "waiting",
};

/* In quotes; escaped where it is not for printing. NULL with an exception set. */
static PyObject *quote(PyObject *name) {
        PyObject *shown, *printable, *quoted = NULL;

        if (name == NULL)
                return PyUnicode_FromString("?");
        shown = PyUnicode_Substring(name, 0, NAME_MAX_SHOWN);
        printable = shown != NULL ? PyObject_CallMethod(shown, "isprintable", NULL) : NULL;
        if (printable != NULL)
                quoted = PyUnicode_FromFormat(printable == Py_True ? "\"%U\"" : "%R", shown);
        Py_XDECREF(printable);
        Py_XDECREF(shown);
        return quoted;
}

/* The frames of its coroutine and of what that awaits, the outermost first. NULL with an exception. */
static PyObject *task_frames(const AioTask *t) {
        PyObject *frames = PyList_New(0);

        if (frames != NULL && t->coroutine != NULL && awaits_frames(t->coroutine, frames) < 0)
                Py_CLEAR(frames);
        return frames;
}

/*
 * As blocks.
 */

typedef struct Blocks {
        Frames *frames;
        PyObject *lines;
        size_t n;
} Blocks;

/* `, waits for "a", "b"`. */
static int append_names(PyObject *lines, const AioTasks *all, size_t edge, bool awaited) {
        int r = 0;

        for (size_t i = 0; r == 0 && edge != AIO_NONE; i++) {
                const AioEdge *e = &all->edges[edge];
                PyObject *name;

                if (i == NAMES_MAX)
                        return look_append_consume(lines, PyUnicode_FromString(", …"));
                name = quote(all->tasks[awaited ? e->awaited : e->waiter].name);
                if (name == NULL)
                        return -1;
                r = look_append_consume(
                        lines,
                        PyUnicode_FromFormat("%s%U", i > 0 ? ", " : awaited ? ", waits for " : ", awaited by ", name));
                Py_DECREF(name);
                edge = awaited ? e->next_awaited : e->next_waiter;
        }
        return r;
}

static int append_header(PyObject *lines, const AioTasks *all, const AioTask *t) {
        PyObject *name = quote(t->name);
        int r = -1;

        if (name != NULL)
                r = look_append_consume(lines, PyUnicode_FromFormat("\n######### Task=%U #########\nTask %U: %s",
                                                                      name, name, states[t->state]));
        Py_XDECREF(name);
        if (r == 0)
                r = append_names(lines, all, t->awaited, true);
        if (r == 0)
                r = append_names(lines, all, t->waiters, false);
        return r == 0 ? look_append_consume(lines, PyUnicode_FromString("\n")) : r;
}

static int append_block(AioTasks *all, size_t task, size_t depth, void *arg) {
        Blocks *b = arg;
        PyObject *frames;
        int r;

        if (b->n == BLOCKS_MAX)
                return 1;
        b->n++;
        frames = task_frames(&all->tasks[task]);
        r = frames != NULL ? append_header(b->lines, all, &all->tasks[task]) : -1;
        for (Py_ssize_t i = 0; r == 0 && i < PyList_Size(frames); i++)
                r = frames_append(b->frames, b->lines, PyList_GetItem(frames, i));
        Py_XDECREF(frames);
        return r;
}

int tasks_append(Frames *f, PyObject *lines) {
        Blocks b = { .frames = f, .lines = lines };
        AioTasks all;
        int r;

        aio_collect(&all);
        r = aio_walk(&all, append_block, &b);
        if (r >= 0 && b.n < all.n_tasks + all.n_left_out)
                r = look_append_consume(
                        lines, PyUnicode_FromFormat("\n(%zu asyncio tasks more.)\n",
                                                    all.n_tasks + all.n_left_out - b.n));
        aio_done(&all);
        return r < 0 ? -1 : 0;
}

/*
 * As JSON.
 */

typedef struct Json {
        JsonBuffer *b;
        PyObject *lines; /* of the text: a tree */
        size_t begin, n;
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
        jsonbuf_raw(b, states[t->state]);
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
        PyObject *name = quote(t->name);
        int indent = (int)(depth < 32 ? depth : 32) * 2;
        FramePlace p;
        int r = -1;

        if (name != NULL && n > 0 && frames_place(PyList_GetItem(frames, n - 1), &p)) {
                char space[65];

                snprintf(space, sizeof(space), "%*s", indent, "");
                r = look_append_consume(lines, PyUnicode_FromFormat("%s%U: %s in %U (%U:%S)\n", space, name,
                                                                      states[t->state], p.name, p.file,
                                                                      p.number));
                frames_place_done(&p);
        } else if (name != NULL)
                r = look_append_consume(lines, PyUnicode_FromFormat("%U: %s\n", name, states[t->state]));
        Py_XDECREF(name);
        return r;
}

static int visit_json(AioTasks *all, size_t task, size_t depth, void *arg) {
        const AioTask *t = &all->tasks[task];
        Json *j = arg;
        PyObject *frames;
        int r;

        if (j->b->n_data - j->begin > TASKS_MAX)
                return 1;
        frames = task_frames(t);
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

void tasks_answer(Session *s, const char *payload, size_t n_payload, JsonBuffer *ret) {
        Json j = { .b = ret, .lines = PyList_New(0) };
        AioTasks all;
        bool whole;
        int r;

        aio_collect(&all);
        jsonbuf_raw(ret, "{\"tasks\":[");
        j.begin = ret->n_data;
        r = j.lines != NULL ? aio_walk(&all, visit_json, &j) : -1;
        jsonbuf_raw(ret, "],\"text\":");
        whole = r == 0 && all.n_left_out == 0;
        if (j.lines != NULL)
                whole &= add_tree(ret, j.lines);
        else
                jsonbuf_raw(ret, "null");
        jsonbuf_raw(ret, whole ? "}" : ",\"truncated\":true,\"n_tasks\":");
        if (!whole) {
                jsonbuf_integer(ret, (long long)(all.n_tasks + all.n_left_out));
                jsonbuf_raw(ret, "}");
        }
        PyErr_Clear();
        Py_XDECREF(j.lines);
        aio_done(&all);
}
