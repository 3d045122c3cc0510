/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/stacks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/frames.h"
#include "agent/stuck.h"
#include "agent/task.h"
#include "agent/tasks.h"

#define STACKS_END "#############################################\n\n\n"

/* What is known of the threads beside their frames. */
typedef struct Threads {
        PyObject *active; /* owned: threading's, by id; or NULL */
        Task *tasks;      /* owned */
        size_t n_tasks;
} Threads;

/* The kernel's part is read without the GIL, and before the frames. Without /proc there is none. */
static void threads_read(Threads *ret) {
        PyObject *threading = PyDict_GetItemString(PyImport_GetModuleDict(), "threading"); /* borrowed */
        Threads t = {};
        PyThreadState *gil;

        if (threading != NULL)
                t.active = PyObject_GetAttrString(threading, "_active");
        PyErr_Clear();
        if (t.active != NULL && !PyDict_Check(t.active))
                Py_CLEAR(t.active);
        gil = PyEval_SaveThread();
        (void)task_list(&t.tasks, &t.n_tasks);
        PyEval_RestoreThread(gil);
        *ret = t;
}

static void threads_done(Threads *t) {
        Py_CLEAR(t->active);
        free(t->tasks);
}

static void threads_identify(Threads *t, PyObject *frames) {
        Py_ssize_t n = 0, position = 0;
        PyObject *id, *frame;
        uintptr_t *ids;

        while (PyDict_Next(frames, &position, &id, &frame))
                n++;
        ids = malloc((size_t)n * sizeof(*ids) + 1);
        if (ids == NULL)
                return;
        n = position = 0;
        while (PyDict_Next(frames, &position, &id, &frame))
                ids[n++] = PyLong_AsUnsignedLong(id);
        PyErr_Clear();
        task_identify(t->tasks, t->n_tasks, ids, (size_t)n);
        free(ids);
}

/* As the application calls it, quoted; a new str, or NULL without an exception. Runs no code of the
 * application: a name that is no str is none. */
static PyObject *thread_name(const Threads *t, PyObject *id) {
        PyObject *thread = t->active != NULL ? PyDict_GetItem(t->active, id) : NULL; /* borrowed */
        PyObject *name = NULL, *printable = NULL, *quoted = NULL;

        Py_XINCREF(thread);
        if (thread != NULL)
                name = PyObject_GetAttrString(thread, "_name");
        if (name != NULL && PyUnicode_Check(name))
                printable = PyObject_CallMethod(name, "isprintable", NULL);
        if (printable != NULL)
                quoted = PyUnicode_FromFormat(PyObject_IsTrue(printable) == 1 ? "\"%U\"" : "%R", name);
        PyErr_Clear();
        Py_XDECREF(printable);
        Py_XDECREF(name);
        Py_XDECREF(thread);
        return quoted;
}

/* `Thread NATIVE-ID "NAME": STATE`, in the words of a dump without the GIL. */
static int append_task(PyObject *lines, const Threads *t, PyObject *id) {
        uintptr_t thread_id = PyLong_AsUnsignedLong(id);
        const Task *task = NULL;
        PyObject *name;
        char description[TASK_DESCRIPTION_MAX];
        int r;

        PyErr_Clear();
        for (size_t i = 0; i < t->n_tasks && task == NULL; i++)
                if (t->tasks[i].thread_id == thread_id)
                        task = &t->tasks[i];
        if (task == NULL)
                return 0;
        name = thread_name(t, id);
        if (name == NULL) {
                task_quote(task, description, sizeof(description));
                name = PyUnicode_DecodeUTF8(description, (Py_ssize_t)strlen(description), "replace");
        }
        if (name == NULL)
                return -1;
        task_describe(task, description, sizeof(description));
        r = frames_append_consume(lines, PyUnicode_FromFormat("Thread %ld %U: %s\n", (long)task->id, name, description));
        Py_DECREF(name);
        return r;
}

static int append_thread(PyObject *lines, Frames *stack, const Threads *threads, PyObject *id,
                         PyObject *frame) {
        int r = frames_append_consume(lines,
                                      PyUnicode_FromFormat("\n######### ProcessID=%ld, ThreadID=%S #########\n",
                                                           (long)getpid(), id));

        if (r == 0)
                r = append_task(lines, threads, id);
        return r == 0 ? frames_append_stack(stack, lines, frame) : r;
}

static int append_threads(PyObject *lines, Frames *stack) {
        PyObject *get = PySys_GetObject("_current_frames"), *frames = NULL, *id, *frame; /* borrowed */
        Py_ssize_t position = 0;
        Threads threads;
        int r = 0;

        threads_read(&threads);
        if (get != NULL)
                frames = PyObject_CallObject(get, NULL);
        if (frames != NULL) {
                threads_identify(&threads, frames);
                while (r == 0 && PyDict_Next(frames, &position, &id, &frame))
                        r = append_thread(lines, stack, &threads, id, frame);
        }
        r = frames != NULL ? r : -1;
        Py_XDECREF(frames);
        threads_done(&threads);
        return r;
}

static PyObject *format_frames(void) {
        PyObject *lines = PyList_New(0), *empty = PyUnicode_FromString(""), *text = NULL;
        Frames stack;

        frames_init(&stack);
        if (lines != NULL && empty != NULL && append_threads(lines, &stack) == 0 &&
            tasks_append(&stack, lines) == 0 &&
            frames_append_consume(lines, PyUnicode_FromString(STACKS_END)) == 0)
                text = PyUnicode_Join(empty, lines);
        frames_done(&stack);
        Py_XDECREF(lines);
        Py_XDECREF(empty);
        return text;
}

/* In the words of a dump for which there was no GIL. */
static PyObject *format_from_copy(void) {
        PyThreadState *gil = PyEval_SaveThread();
        PyObject *text;
        Stuck stuck;
        int r;

        r = stuck_take(false, clock_now_ns(), &stuck);
        PyEval_RestoreThread(gil);
        if (r < 0) {
                errno = -r;
                return PyErr_SetFromErrno(PyExc_OSError);
        }
        text = PyUnicode_DecodeUTF8(stuck.text, (Py_ssize_t)stuck.n_text, "replace");
        stuck_done(&stuck);
        return text;
}

PyObject *stacks_format(void) {
        return dump_list_is_stale() ? format_from_copy() : format_frames();
}
