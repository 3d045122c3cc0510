/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/aiotree.h"

#include "agent/awaits.h"

#define DEPTH_MAX 1000
#define NAME_MAX_SHOWN 100

/* By a stack of its own: a chain of tasks may be long. */
static int walk_from(AioTasks *a, size_t root, int (*visit)(AioTasks *, size_t, size_t, void *), void *arg) {
        size_t edges[DEPTH_MAX], depth = 0;
        int r;

        a->tasks[root].visited = true;
        r = visit(a, root, 0, arg);
        edges[0] = a->tasks[root].awaited;
        while (r == 0) {
                size_t edge = edges[depth], task;

                if (edge == AIO_NONE) {
                        if (depth-- == 0)
                                break;
                        continue;
                }
                edges[depth] = a->edges[edge].next_awaited;
                task = a->edges[edge].awaited;
                if (a->tasks[task].visited)
                        continue;
                a->tasks[task].visited = true;
                r = visit(a, task, depth + 1, arg);
                if (depth + 1 < DEPTH_MAX)
                        edges[++depth] = a->tasks[task].awaited;
        }
        return r;
}

int aiotree_walk(AioTasks *a, int (*visit)(AioTasks *a, size_t task, size_t depth, void *arg), void *arg) {
        int r = 0;

        for (size_t i = 0; i < a->n_tasks; i++)
                a->tasks[i].visited = false;
        for (size_t i = 0; r == 0 && i < a->n_tasks; i++)
                if (a->tasks[i].waiters == AIO_NONE)
                        r = walk_from(a, i, visit, arg);
        /* Those that wait for each other in a circle. */
        for (size_t i = 0; r == 0 && i < a->n_tasks; i++)
                if (!a->tasks[i].visited)
                        r = walk_from(a, i, visit, arg);
        return r;
}

const char *aiotree_state(AioState state) {
        static const char *const names[] = {
                [AIO_READY] = "ready",
                [AIO_RUNNING] = "running",
                [AIO_WAITING] = "waiting",
        };

        return names[state];
}

PyObject *aiotree_quote(const AioTask *t) {
        PyObject *shown, *printable, *quoted = NULL;

        if (t->name == NULL)
                return PyUnicode_FromString("?");
        shown = PyUnicode_Substring(t->name, 0, NAME_MAX_SHOWN);
        printable = shown != NULL ? PyObject_CallMethod(shown, "isprintable", NULL) : NULL;
        if (printable != NULL)
                quoted = PyUnicode_FromFormat(printable == Py_True ? "\"%U\"" : "%R", shown);
        Py_XDECREF(printable);
        Py_XDECREF(shown);
        return quoted;
}

PyObject *aiotree_frames(const AioTask *t) {
        PyObject *frames = PyList_New(0);

        if (frames != NULL && t->coroutine != NULL && awaits_frames(t->coroutine, frames) < 0)
                Py_CLEAR(frames);
        return frames;
}
