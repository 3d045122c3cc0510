/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/stacks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/frames.h"
#include "agent/holder.h"
#include "agent/look.h"
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

/* By which Python knows them; the caller frees it. */
static uintptr_t *thread_ids(PyObject *frames, size_t *ret_n) {
        uintptr_t *ids = malloc((size_t)PyDict_Size(frames) * sizeof(*ids) + 1);
        Py_ssize_t position = 0;
        PyObject *id, *frame;
        size_t n = 0;

        while (ids != NULL && PyDict_Next(frames, &position, &id, &frame))
                ids[n++] = PyLong_AsUnsignedLong(id);
        PyErr_Clear();
        *ret_n = n;
        return ids;
}

/* Of the threads that have frames, once it is known which they are. */
static void look_at_tasks(Threads *t) {
        size_t n = 0;

        for (size_t i = 0; i < t->n_tasks; i++)
                if (t->tasks[i].thread_id != 0 && task_look(&t->tasks[i]))
                        t->tasks[n++] = t->tasks[i];
        t->n_tasks = n;
        holder_mark(t->tasks, n);
}

/* The kernel's part is read without the GIL, and before the frames that are shown. Without /proc there
 * is none. */
static void threads_read(Threads *ret, PyObject *frames) {
        PyObject *threading = PyDict_GetItemString(PyImport_GetModuleDict(), "threading"); /* borrowed */
        Threads t = {};
        PyThreadState *gil;
        uintptr_t *ids;
        size_t n;

        if (threading != NULL)
                t.active = PyObject_GetAttrString(threading, "_active");
        PyErr_Clear();
        if (t.active != NULL && !PyDict_Check(t.active))
                Py_CLEAR(t.active);
        ids = thread_ids(frames, &n);
        gil = PyEval_SaveThread();
        if (ids != NULL && task_list_ids(&t.tasks, &t.n_tasks) == 0) {
                task_identify(t.tasks, t.n_tasks, ids, n);
                look_at_tasks(&t);
        }
        PyEval_RestoreThread(gil);
        free(ids);
        *ret = t;
}

static void threads_done(Threads *t) {
        Py_CLEAR(t->active);
        free(t->tasks);
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
        r = look_append_consume(
                lines, PyUnicode_FromFormat("Thread %ld %U: %s\n", (long)task->id, name, description));
        Py_DECREF(name);
        return r;
}

static int append_thread(PyObject *lines, Frames *stack, const Threads *threads, PyObject *id,
                         PyObject *frame) {
        int r = look_append_consume(
                lines, PyUnicode_FromFormat("\n######### ProcessID=%ld, ThreadID=%S #########\n",
                                            (long)getpid(), id));

        if (r == 0)
                r = append_task(lines, threads, id);
        return r == 0 ? frames_append_stack(stack, lines, frame) : r;
}

static PyObject *current_frames(void) {
        PyObject *get = PySys_GetObject("_current_frames"); /* borrowed */

        return get != NULL ? PyObject_CallObject(get, NULL) : NULL;
}

static int append_threads(PyObject *lines, Frames *stack) {
        PyObject *frames = current_frames(), *id, *frame;
        Py_ssize_t position = 0;
        Threads threads;
        int r = 0;

        if (frames == NULL)
                return -1;
        threads_read(&threads, frames);
        Py_DECREF(frames);
        /* Those of now: meanwhile the application went on. */
        frames = current_frames();
        while (frames != NULL && r == 0 && PyDict_Next(frames, &position, &id, &frame))
                r = append_thread(lines, stack, &threads, id, frame);
        r = frames != NULL ? r : -1;
        Py_XDECREF(frames);
        threads_done(&threads);
        return r;
}

static PyObject *format_frames(bool locals) {
        PyObject *lines = PyList_New(0), *empty = PyUnicode_FromString(""), *text = NULL;
        Frames stack;

        frames_init(&stack, locals);
        if (lines != NULL && empty != NULL && append_threads(lines, &stack) == 0 &&
            tasks_append(&stack, lines) == 0 &&
            look_append_consume(lines, PyUnicode_FromString(STACKS_END)) == 0)
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

PyObject *stacks_format(bool locals) {
        return dump_list_is_stale() ? format_from_copy() : format_frames(locals);
}
