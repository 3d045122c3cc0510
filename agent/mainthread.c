/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/mainthread.h"

#include <Python.h>

#include <stdbool.h>
#include <unistd.h>

static struct {
        unsigned long ident; /* as Python knows it */
        bool settled;        /* changed and used with the GIL held */
} main_thread;

/* True when the attribute is that number. Leaves no exception. */
static bool attribute_is(PyObject *object, const char *name, unsigned long number) {
        PyObject *value = PyObject_GetAttrString(object, name);
        bool is = value != NULL && PyLong_Check(value) && PyLong_AsUnsignedLong(value) == number;

        PyErr_Clear();
        Py_XDECREF(value);
        return is;
}

static void set_number(PyObject *object, const char *name, unsigned long number) {
        PyObject *value = PyLong_FromUnsignedLong(number);

        if (value != NULL)
                (void)PyObject_SetAttrString(object, name, value);
        PyErr_Clear();
        Py_XDECREF(value);
}

/* `threading._active`: the threads by their ids. */
static void move_entry(PyObject *threading, PyObject *thread) {
        PyObject *active = PyObject_GetAttrString(threading, "_active"),
                 *wrong = PyLong_FromUnsignedLong(PyThread_get_thread_ident()),
                 *right = PyLong_FromUnsignedLong(main_thread.ident);

        if (active != NULL && PyDict_Check(active) && wrong != NULL && right != NULL &&
            PyDict_SetItem(active, right, thread) == 0)
                (void)PyDict_DelItem(active, wrong);
        PyErr_Clear();
        Py_XDECREF(right);
        Py_XDECREF(wrong);
        Py_XDECREF(active);
}

/* A lock that whoever joins the main thread waits for. The one it has would be released when our thread
 * ends; threading._shutdown() expects to release it itself. */
static void replace_lock(PyObject *threading, PyObject *thread) {
        PyObject *locks = PyObject_GetAttrString(threading, "_shutdown_locks"), *old, *lock, *held = NULL;

        PyErr_Clear(); /* in 3.7 there is none */
        old = PyObject_GetAttrString(thread, "_tstate_lock");
        lock = old != NULL ? PyObject_CallMethod(threading, "_allocate_lock", NULL) : NULL;
        if (lock != NULL)
                held = PyObject_CallMethod(lock, "acquire", NULL);
        if (held != NULL && PyObject_SetAttrString(thread, "_tstate_lock", lock) == 0 && locks != NULL &&
            PySet_Check(locks) && PySet_Discard(locks, old) == 1)
                (void)PySet_Add(locks, lock);
        PyErr_Clear();
        Py_XDECREF(held);
        Py_XDECREF(lock);
        Py_XDECREF(old);
        Py_XDECREF(locks);
}

/* What has come of an import by this thread. */
static void correct(PyObject *threading) {
        PyObject *thread = PyObject_GetAttrString(threading, "_main_thread");

        if (thread != NULL && attribute_is(thread, "_native_id", (unsigned long)gettid()))
                set_number(thread, "_native_id", (unsigned long)getpid());
        if (thread != NULL && attribute_is(thread, "_ident", PyThread_get_thread_ident())) {
                set_number(thread, "_ident", main_thread.ident);
                move_entry(threading, thread);
                replace_lock(threading, thread);
        }
        PyErr_Clear();
        Py_XDECREF(thread);
}

void mainthread_settle(void) {
        PyObject *type, *value, *traceback, *threading;

        if (main_thread.settled)
                return;
        PyErr_Fetch(&type, &value, &traceback);
        threading = PyImport_ImportModule("threading");
        if (threading != NULL) {
                if (PyThread_get_thread_ident() != main_thread.ident)
                        correct(threading);
                main_thread.settled = true;
        }
        Py_XDECREF(threading);
        PyErr_Restore(type, value, traceback);
}

void mainthread_setup(void) {
        main_thread.ident = PyThread_get_thread_ident();
        if (gettid() != getpid())
                mainthread_settle();
}

void mainthread_fork_child(void) {
        main_thread.ident = PyThread_get_thread_ident();
}
