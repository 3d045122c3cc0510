/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/aio.h"

#include <stdlib.h>

#include "agent/awaits.h"
#include "agent/look.h"

/* Beyond that they are only counted: the application waits meanwhile. */
#define TASKS_MAX 10000
/* Futures of futures: gather() in shield() in wait_for(). */
#define NESTED_MAX 8
#define CALLBACKS_MAX 64

/* While a set is copied, a destructor may change it. */
#define COPY_TRIES 5

typedef struct Asyncio {
        PyObject *tasks;   /* borrowed: the module */
        PyObject *task;    /* owned: the classes */
        PyObject *future;  /* owned */
        PyObject *partial; /* owned: functools.partial, or NULL */
} Asyncio;

static PyObject *loaded_module(const char *name) {
        return PyDict_GetItemString(PyImport_GetModuleDict(), name); /* borrowed */
}

static bool is_a(PyObject *object, PyObject *type) {
        return type != NULL && PyType_IsSubtype(Py_TYPE(object), (PyTypeObject *)type);
}

static bool asyncio_find(Asyncio *ret) {
        PyObject *functools = loaded_module("functools");
        Asyncio a = { .tasks = loaded_module("asyncio.tasks") };

        if (a.tasks == NULL)
                return false;
        a.task = PyObject_GetAttrString(a.tasks, "Task");
        a.future = PyObject_GetAttrString(a.tasks, "futures");
        if (a.future != NULL) {
                PyObject *module = a.future;

                a.future = PyObject_GetAttrString(module, "Future");
                Py_DECREF(module);
        }
        if (functools != NULL)
                a.partial = PyObject_GetAttrString(functools, "partial");
        if (a.partial != NULL && !PyType_Check(a.partial))
                Py_CLEAR(a.partial);
        PyErr_Clear();
        if (a.task == NULL || a.future == NULL || !PyType_Check(a.task) || !PyType_Check(a.future)) {
                Py_XDECREF(a.task);
                Py_XDECREF(a.future);
                Py_XDECREF(a.partial);
                return false;
        }
        *ret = a;
        return true;
}

static void asyncio_done(Asyncio *a) {
        Py_CLEAR(a->task);
        Py_CLEAR(a->future);
        Py_CLEAR(a->partial);
}

/* A list of what a set, or the set under a WeakSet, holds. NULL without an exception. */
static PyObject *copy_set(Asyncio *a, const char *name) {
        PyObject *set = PyObject_GetAttrString(a->tasks, name), *data, *list = NULL;

        PyErr_Clear();
        if (set == NULL)
                return NULL;
        data = look_attribute(set, "data");
        if (data == NULL) {
                data = set;
                Py_INCREF(data);
        }
        if (PyType_IsSubtype(Py_TYPE(data), &PySet_Type))
                for (int i = 0; list == NULL && i < COPY_TRIES; i++) {
                        list = PySequence_List(data);
                        PyErr_Clear();
                }
        Py_DECREF(data);
        Py_DECREF(set);
        return list;
}

/* What a weak reference refers to, or the object itself. A new reference, or NULL. */
static PyObject *dereference(PyObject *object) {
        PyObject *referent;

        if (Py_TYPE(object) != (PyTypeObject *)&_PyWeakref_RefType) {
                Py_INCREF(object);
                return object;
        }
        referent = PyObject_CallObject(object, NULL);
        PyErr_Clear();
        if (referent == Py_None)
                Py_CLEAR(referent);
        return referent;
}

static bool is_pending(PyObject *task) {
        PyObject *state = look_attribute(task, "_state");
        bool pending = state != NULL && PyUnicode_Check(state) &&
                       PyUnicode_CompareWithASCIIString(state, "PENDING") == 0;

        Py_XDECREF(state);
        return pending;
}

static unsigned long loop_thread(PyObject *task) {
        PyObject *loop = look_attribute(task, "_loop"), *id = NULL;
        unsigned long thread_id = 0;

        if (loop != NULL)
                id = look_attribute(loop, "_thread_id");
        if (id != NULL && PyLong_Check(id))
                thread_id = PyLong_AsUnsignedLong(id);
        if (PyErr_Occurred()) {
                PyErr_Clear();
                thread_id = 0;
        }
        Py_XDECREF(id);
        Py_XDECREF(loop);
        return thread_id;
}

/* Of the class, not of what the application derives from it. */
static PyObject *task_name(Asyncio *a, PyObject *task) {
        PyObject *name = PyObject_CallMethod(a->task, "get_name", "O", task);

        PyErr_Clear();
        if (name != NULL && Py_TYPE(name) != &PyUnicode_Type)
                Py_CLEAR(name);
        return name;
}

/* Takes @task over. */
static void add_task_consume(Asyncio *a, AioTasks *all, PyObject *task) {
        AioTask *t;

        if (!is_a(task, a->task) || !is_pending(task) || all->n_tasks == TASKS_MAX) {
                all->n_left_out += all->n_tasks == TASKS_MAX;
                Py_DECREF(task);
                return;
        }
        t = &all->tasks[all->n_tasks++];
        *t = (AioTask){ .task = task, .awaited = AIO_NONE, .waiters = AIO_NONE };
        t->coroutine = look_attribute(task, "_coro");
        t->future = look_attribute(task, "_fut_waiter");
        if (t->future == Py_None)
                Py_CLEAR(t->future);
        t->name = task_name(a, task);
        t->thread_id = loop_thread(task);
        t->state = t->future != NULL                                   ? AIO_WAITING
                   : t->coroutine != NULL && awaits_runs(t->coroutine) ? AIO_RUNNING
                                                                       : AIO_READY;
}

static int compare_tasks(const void *a, const void *b) {
        uintptr_t one = (uintptr_t)((const AioTask *)a)->task, two = (uintptr_t)((const AioTask *)b)->task;

        return (one > two) - (one < two);
}

static void list_tasks(Asyncio *a, AioTasks *all) {
        /* Up to 3.11, and since 3.12: there what has run without ever being scheduled is apart. */
        static const char *const sets[] = { "_all_tasks", "_scheduled_tasks", "_eager_tasks" };
        size_t n = 0;

        for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
                PyObject *list = copy_set(a, sets[i]);

                for (Py_ssize_t j = 0; list != NULL && j < PyList_Size(list); j++) {
                        PyObject *task = dereference(PyList_GetItem(list, j));

                        if (task != NULL)
                                add_task_consume(a, all, task);
                }
                Py_XDECREF(list);
        }
        if (all->n_tasks == 0)
                return;
        /* Once each: by address, where they are found again. */
        qsort(all->tasks, all->n_tasks, sizeof(*all->tasks), compare_tasks);
        for (size_t i = 1; i < all->n_tasks; i++)
                if (all->tasks[i].task != all->tasks[n].task)
                        all->tasks[++n] = all->tasks[i];
                else {
                        Py_XDECREF(all->tasks[i].task);
                        Py_XDECREF(all->tasks[i].coroutine);
                        Py_XDECREF(all->tasks[i].future);
                        Py_XDECREF(all->tasks[i].name);
                }
        all->n_tasks = n + 1;
}

/*
 * Who waits for whom. A task that awaits another has it for its future. One that waits for several
 * (gather(), wait(), a TaskGroup) waits for a future of which these know through their callbacks.
 */

typedef struct Waiter {
        PyObject *future; /* borrowed of the task */
        size_t task;
} Waiter;

typedef struct Graph {
        Asyncio *asyncio;
        AioTasks *all;
        Waiter *waiters; /* owned; by future */
        size_t n_waiters;
} Graph;

static int compare_waiters(const void *a, const void *b) {
        uintptr_t one = (uintptr_t)((const Waiter *)a)->future, two = (uintptr_t)((const Waiter *)b)->future;

        return (one > two) - (one < two);
}

static void add_edge(AioTasks *all, size_t waiter, size_t awaited) {
        AioTask *from = &all->tasks[waiter], *to = &all->tasks[awaited];

        for (size_t e = to->waiters; e != AIO_NONE; e = all->edges[e].next_waiter)
                if (all->edges[e].waiter == waiter)
                        return;
        if (all->n_edges == all->n_edges_allocated) {
                size_t n = all->n_edges_allocated * 2 + 64;
                AioEdge *edges = realloc(all->edges, n * sizeof(*edges));

                if (edges == NULL)
                        return;
                all->edges = edges;
                all->n_edges_allocated = n;
        }
        all->edges[all->n_edges] = (AioEdge){
                .waiter = waiter,
                .awaited = awaited,
                .next_awaited = from->awaited,
                .next_waiter = to->waiters,
        };
        from->awaited = to->waiters = all->n_edges++;
}

static void follow_callbacks(Graph *g, PyObject *future, size_t awaited, int nested);

/* @object may be what somebody waits for, or lead there. */
static void follow(Graph *g, PyObject *object, size_t awaited, int nested) {
        Waiter key = { .future = object };
        const Waiter *w;

        if (object == NULL || !is_a(object, g->asyncio->future) || nested == NESTED_MAX)
                return;
        w = g->n_waiters > 0 ? bsearch(&key, g->waiters, g->n_waiters, sizeof(*g->waiters), compare_waiters)
                             : NULL;
        if (w != NULL)
                add_edge(g->all, w->task, awaited);
        else
                follow_callbacks(g, object, awaited, nested + 1);
}

static void follow_tuple(Graph *g, PyObject *tuple, const char *attribute, size_t awaited, int nested) {
        for (Py_ssize_t i = 0; tuple != NULL && PyTuple_Check(tuple) && i < PyTuple_Size(tuple); i++) {
                PyObject *item = PyTuple_GetItem(tuple, i), *content = NULL; /* borrowed */

                if (attribute != NULL)
                        item = content = look_attribute(item, attribute);
                follow(g, item, awaited, nested);
                Py_XDECREF(content);
        }
}

static void follow_callback(Graph *g, PyObject *callback, size_t awaited, int nested) {
        PyObject *held;

        if (is_a(callback, g->asyncio->partial)) {
                held = look_attribute(callback, "args");
                follow_tuple(g, held, NULL, awaited, nested);
                Py_XDECREF(held);
                return;
        }
        if ((PyType_GetFlags(Py_TYPE(callback)) & Py_TPFLAGS_HEAPTYPE) != 0)
                return;
        held = look_attribute(callback, "__closure__");
        follow_tuple(g, held, "cell_contents", awaited, nested);
        Py_XDECREF(held);
        held = look_attribute(callback, "__self__"); /* a TaskGroup */
        if (held != NULL) {
                PyObject *future = look_attribute(held, "_on_completed_fut");

                follow(g, future, awaited, nested);
                Py_XDECREF(future);
        }
        Py_XDECREF(held);
}

static void follow_callbacks(Graph *g, PyObject *future, size_t awaited, int nested) {
        PyObject *callbacks = look_attribute(future, "_callbacks");

        if (callbacks != NULL && PyList_Check(callbacks))
                for (Py_ssize_t i = 0; i < PyList_Size(callbacks) && i < CALLBACKS_MAX; i++) {
                        PyObject *pair = PyList_GetItem(callbacks, i); /* borrowed: (callback, context) */

                        if (PyTuple_Check(pair) && PyTuple_Size(pair) > 0)
                                follow_callback(g, PyTuple_GetItem(pair, 0), awaited, nested);
                }
        Py_XDECREF(callbacks);
}

static void find_edges(Asyncio *a, AioTasks *all) {
        Graph g = { .asyncio = a, .all = all };

        g.waiters = malloc(all->n_tasks * sizeof(*g.waiters));
        if (g.waiters == NULL)
                return;
        for (size_t i = 0; i < all->n_tasks; i++)
                if (all->tasks[i].future != NULL)
                        g.waiters[g.n_waiters++] = (Waiter){ .future = all->tasks[i].future, .task = i };
        qsort(g.waiters, g.n_waiters, sizeof(*g.waiters), compare_waiters);
        for (size_t i = 0; i < all->n_tasks; i++) {
                AioTask key = { .task = all->tasks[i].future };
                const AioTask *t = key.task == NULL ? NULL
                                                    : bsearch(&key, all->tasks, all->n_tasks,
                                                              sizeof(*all->tasks), compare_tasks);

                if (t != NULL)
                        add_edge(all, i, (size_t)(t - all->tasks));
                follow_callbacks(&g, all->tasks[i].task, i, 0);
        }
        free(g.waiters);
}

void aio_collect(AioTasks *ret) {
        AioTasks all = AIO_TASKS_INIT;
        Asyncio a;

        *ret = all;
        if (!asyncio_find(&a))
                return;
        all.tasks = malloc(TASKS_MAX * sizeof(*all.tasks));
        if (all.tasks != NULL)
                list_tasks(&a, &all);
        if (all.n_tasks > 0)
                find_edges(&a, &all);
        asyncio_done(&a);
        *ret = all;
}

void aio_done(AioTasks *a) {
        for (size_t i = 0; i < a->n_tasks; i++) {
                Py_XDECREF(a->tasks[i].name);
                Py_XDECREF(a->tasks[i].future);
                Py_XDECREF(a->tasks[i].coroutine);
                Py_XDECREF(a->tasks[i].task);
        }
        free(a->tasks);
        free(a->edges);
        *a = AIO_TASKS_INIT;
}
