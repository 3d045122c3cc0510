/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/tasks.h"

#include "agent/aiotree.h"
#include "agent/glimpse.h"
#include "agent/greenlets.h"
#include "agent/look.h"

/* What a console begins with is to be read. */
#define BLOCKS_MAX 200
#define NAMES_MAX 5

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
                name = aiotree_quote(&all->tasks[awaited ? e->awaited : e->waiter]);
                if (name == NULL)
                        return -1;
                r = look_append_consume(lines, PyUnicode_FromFormat("%s%U",
                                                                    i > 0     ? ", "
                                                                    : awaited ? ", waits for "
                                                                              : ", awaited by ",
                                                                    name));
                Py_DECREF(name);
                edge = awaited ? e->next_awaited : e->next_waiter;
        }
        return r;
}

static int append_header(PyObject *lines, const AioTasks *all, const AioTask *t) {
        PyObject *name = aiotree_quote(t);
        int r = -1;

        if (name != NULL)
                r = look_append_consume(lines,
                                        PyUnicode_FromFormat("\n######### Task=%U #########\nTask %U: %s",
                                                             name, name, aiotree_state(t->state)));
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
        frames = aiotree_frames(&all->tasks[task]);
        r = frames != NULL ? append_header(b->lines, all, &all->tasks[task]) : -1;
        for (Py_ssize_t i = 0; r == 0 && i < PyList_Size(frames); i++)
                r = frames_append(b->frames, b->lines, PyList_GetItem(frames, i));
        Py_XDECREF(frames);
        return r;
}

static int append_aio(Frames *f, PyObject *lines) {
        Blocks b = { .frames = f, .lines = lines };
        AioTasks all;
        int r;

        aio_collect(&all);
        r = aiotree_walk(&all, append_block, &b);
        if (r >= 0 && b.n < all.n_tasks + all.n_left_out)
                r = look_append_consume(lines, PyUnicode_FromFormat("\n(%zu asyncio tasks more.)\n",
                                                                    all.n_tasks + all.n_left_out - b.n));
        aio_done(&all);
        return r < 0 ? -1 : 0;
}

static int append_greenlet(Frames *f, PyObject *lines, PyObject *greenlet, PyObject *frame) {
        PyObject *type = glimpse_type((PyObject *)Py_TYPE(greenlet));
        int r = -1;

        if (type != NULL)
                r = look_append_consume(
                        lines, PyUnicode_FromFormat("\n######### Greenlet=%p #########\nGreenlet %p: %U\n",
                                                    (void *)greenlet, (void *)greenlet, type));
        Py_XDECREF(type);
        return r == 0 ? frames_append_stack(f, lines, frame) : r;
}

static int append_greenlets(Frames *f, PyObject *lines) {
        Greenlets g;
        size_t n;
        int r = 0;

        greenlets_collect(false, &g);
        n = greenlets_count(&g);
        for (size_t i = 0; r == 0 && i < n && i < BLOCKS_MAX; i++)
                r = append_greenlet(f, lines, PyList_GetItem(g.greenlets, (Py_ssize_t)i),
                                    PyList_GetItem(g.frames, (Py_ssize_t)i));
        if (r == 0 && n > BLOCKS_MAX)
                r = look_append_consume(lines,
                                        PyUnicode_FromFormat("\n(%zu greenlets more.)\n", n - BLOCKS_MAX));
        if (r == 0 && g.too_many)
                r = look_append_consume(lines, PyUnicode_FromString("\n(Greenlets are not looked for: the "
                                                                    "process has too many objects.)\n"));
        greenlets_done(&g);
        return r;
}

int tasks_append(Frames *f, PyObject *lines) {
        int r = append_aio(f, lines);

        return r == 0 ? append_greenlets(f, lines) : r;
}
