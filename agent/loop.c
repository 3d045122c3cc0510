/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/loop.h"

/* Frames of one thread that are looked at: who runs a loop is seldom far from the outermost. */
#define FRAMES_MAX 10000
/* A set of weak references may change while it is copied. */
#define COPIES_MAX 10

/* Borrowed; NULL without an exception. */
static PyObject *imported(const char *name) {
        return PyDict_GetItemString(PyImport_GetModuleDict(), name);
}

static bool is_running(PyObject *loop) {
        PyObject *events = imported("asyncio.events"), *class = NULL, *running = NULL;
        bool yes = false;

        if (events != NULL)
                class = PyObject_GetAttrString(events, "AbstractEventLoop");
        if (class != NULL && PyObject_IsInstance(loop, class) == 1)
                running = PyObject_CallMethod(loop, "is_running", NULL);
        if (running != NULL)
                yes = PyObject_IsTrue(running) == 1;
        PyErr_Clear();
        Py_XDECREF(running);
        Py_XDECREF(class);
        return yes;
}

/* @object if it is a running loop, or the one that it has as this attribute. New reference. */
static PyObject *running_loop_of(PyObject *object, const char *attribute) {
        PyObject *loop;

        if (is_running(object)) {
                Py_INCREF(object);
                return object;
        }
        loop = PyObject_GetAttrString(object, attribute);
        PyErr_Clear();
        if (loop != NULL && !is_running(loop))
                Py_CLEAR(loop);
        return loop;
}

static bool is_text(PyObject *object, const char *text) {
        return object != NULL && PyUnicode_Check(object) &&
               PyUnicode_CompareWithASCIIString(object, text) == 0;
}

/* Whether this is a function that runs a loop. The locals of others are left alone: asking for them
 * keeps what is in them alive. */
static bool runs_loop(PyObject *frame) {
        PyObject *code = PyObject_GetAttrString(frame, "f_code"), *name = NULL, *globals = NULL,
                 *module = NULL;
        bool yes = false;

        if (code != NULL)
                name = PyObject_GetAttrString(code, "co_name");
        if (is_text(name, "run_forever") || is_text(name, "run_until_complete"))
                yes = true;
        else if (is_text(name, "run")) {
                globals = PyObject_GetAttrString(frame, "f_globals");
                if (globals != NULL)
                        module = PyDict_GetItemString(globals, "__name__"); /* borrowed */
                yes = is_text(module, "asyncio.runners") || is_text(module, "uvloop");
        }
        PyErr_Clear();
        Py_XDECREF(globals);
        Py_XDECREF(name);
        Py_XDECREF(code);
        return yes;
}

/* The loop that this frame runs. New reference, or NULL. */
static PyObject *loop_of_frame(PyObject *frame) {
        static const char *const names[] = { "self", "loop" };
        PyObject *locals, *loop = NULL;

        if (!runs_loop(frame))
                return NULL;
        locals = PyObject_GetAttrString(frame, "f_locals");
        for (size_t i = 0; locals != NULL && loop == NULL && i < sizeof(names) / sizeof(names[0]); i++) {
                PyObject *name = PyUnicode_FromString(names[i]), *value = NULL;

                if (name != NULL)
                        value = PyObject_GetItem(locals, name);
                PyErr_Clear();
                if (value != NULL)
                        loop = running_loop_of(value, "_loop"); /* of an asyncio.Runner */
                Py_XDECREF(value);
                Py_XDECREF(name);
        }
        PyErr_Clear();
        Py_XDECREF(locals);
        return loop;
}

/* The loop that a thread runs, whose innermost frame this is. New reference, or NULL. */
static PyObject *loop_of_thread(PyObject *frame) {
        PyObject *loop = NULL;

        Py_INCREF(frame);
        for (int i = 0; frame != NULL && frame != Py_None && loop == NULL && i < FRAMES_MAX; i++) {
                PyObject *back;

                loop = loop_of_frame(frame);
                back = PyObject_GetAttrString(frame, "f_back");
                PyErr_Clear();
                Py_DECREF(frame);
                frame = back;
        }
        Py_XDECREF(frame);
        return loop;
}

/* threading's word for it. New reference, or NULL. */
static PyObject *main_thread_id(void) {
        PyObject *threading = imported("threading"), *thread = NULL, *id = NULL;

        if (threading != NULL)
                thread = PyObject_CallMethod(threading, "main_thread", NULL);
        if (thread != NULL)
                id = PyObject_GetAttrString(thread, "ident");
        PyErr_Clear();
        Py_XDECREF(thread);
        return id;
}

static PyObject *loop_of_threads(void) {
        PyObject *get = PySys_GetObject("_current_frames"), *frames = NULL, *main = main_thread_id(),
                 *loop = NULL, *id, *frame;
        Py_ssize_t position = 0;

        if (get != NULL)
                frames = PyObject_CallObject(get, NULL);
        if (frames != NULL && main != NULL)
                frame = PyDict_GetItem(frames, main); /* borrowed */
        else
                frame = NULL;
        if (frame != NULL)
                loop = loop_of_thread(frame);
        if (loop == NULL) {
                /* The youngest thread comes first. */
                while (frames != NULL && PyDict_Next(frames, &position, &id, &frame)) {
                        PyObject *found = loop_of_thread(frame);

                        if (found != NULL) {
                                Py_XDECREF(loop);
                                loop = found;
                        }
                }
        }
        PyErr_Clear();
        Py_XDECREF(main);
        Py_XDECREF(frames);
        return loop;
}

/* asyncio's own set of tasks as a list. New reference, or NULL. */
static PyObject *copy_tasks(const char *name) {
        PyObject *module = imported("asyncio.tasks"), *set = NULL, *list = NULL;

        if (module != NULL)
                set = PyObject_GetAttrString(module, name);
        for (int i = 0; set != NULL && list == NULL && i < COPIES_MAX; i++) {
                PyErr_Clear();
                list = PySequence_List(set);
        }
        PyErr_Clear();
        Py_XDECREF(set);
        return list;
}

static PyObject *loop_of_task(PyObject *task) {
        PyObject *loop = PyObject_CallMethod(task, "get_loop", NULL);

        PyErr_Clear();
        if (loop != NULL && !is_running(loop))
                Py_CLEAR(loop);
        return loop;
}

static PyObject *loop_of_tasks(void) {
        /* The first up to 3.11. */
        static const char *const names[] = { "_all_tasks", "_scheduled_tasks", "_eager_tasks" };
        PyObject *loop = NULL;

        for (size_t i = 0; loop == NULL && i < sizeof(names) / sizeof(names[0]); i++) {
                PyObject *tasks = copy_tasks(names[i]);
                Py_ssize_t n = tasks == NULL ? 0 : PyList_Size(tasks);

                for (Py_ssize_t k = 0; loop == NULL && k < n; k++)
                        loop = loop_of_task(PyList_GetItem(tasks, k));
                Py_XDECREF(tasks);
        }
        return loop;
}

PyObject *loop_find(void) {
        PyObject *loop;

        if (imported("asyncio.events") == NULL)
                return NULL;
        loop = loop_of_threads();
        return loop != NULL ? loop : loop_of_tasks();
}

bool loop_is_ours(PyObject *loop) {
        PyObject *events = imported("asyncio.events"), *running = NULL;
        bool ours;

        if (events != NULL)
                running = PyObject_CallMethod(events, "_get_running_loop", NULL);
        ours = running == loop;
        PyErr_Clear();
        Py_XDECREF(running);
        return ours;
}
