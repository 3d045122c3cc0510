/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/shutdown.h"

#include "agent/gil.h"
#include "agent/listener.h"
#include "agent/log.h"
#include "agent/redirect.h"

/* How often the application's signal handlers get their turn meanwhile. */
#define WAIT_STEP_MSEC 100

/* 0, or -1 with the exception of a signal handler set: who has pressed Ctrl-C once need not again. */
static int wait_consoles(void) {
        static bool interrupted;
        bool idle = interrupted;
        PyThreadState *gil;

        while (!idle) {
                gil = PyEval_SaveThread();
                idle = listener_wait_consoles(WAIT_STEP_MSEC);
                PyEval_RestoreThread(gil);
                if (PyErr_CheckSignals() < 0) {
                        interrupted = true;
                        return -1;
                }
        }
        return 0;
}

static PyObject *wrapper_call(PyObject *original, PyObject *args) {
        PyObject *result = PyObject_CallObject(original, args);

        if (result != NULL && wait_consoles() < 0)
                Py_CLEAR(result);
        return result;
}

static PyMethodDef wrapper_def = { "_shutdown", wrapper_call, METH_VARARGS, NULL };

void shutdown_wrap(void) {
        static PyObject *wrapper; /* owned for good */
        PyObject *threading = PyDict_GetItemString(PyImport_GetModuleDict(), "threading"); /* borrowed */
        PyObject *now = NULL, *fresh;

        Py_XINCREF(threading);
        if (threading != NULL)
                now = PyObject_GetAttrString(threading, "_shutdown");
        if (now != NULL && now != wrapper) {
                fresh = PyCFunction_NewEx(&wrapper_def, now, NULL);
                if (fresh != NULL && PyObject_SetAttrString(threading, "_shutdown", fresh) == 0)
                        wrapper = fresh;
                else
                        Py_XDECREF(fresh);
        }
        PyErr_Clear();
        Py_XDECREF(now);
        Py_XDECREF(threading);
}

PyObject *shutdown_at_exit(PyObject *self, PyObject *args) {
        int r = wait_consoles();
        PyThreadState *gil;

        gil = PyEval_SaveThread();
        listener_stop();
        gil_close();
        PyEval_RestoreThread(gil);
        redirect_reset();
        log_flush();
        if (r < 0)
                return NULL;
        Py_RETURN_NONE;
}

static PyMethodDef at_exit_def = { "_at_exit", shutdown_at_exit, METH_NOARGS, NULL };

/* Called by multiprocessing in the child, once it has cleared what the parent had registered. */
static PyObject *register_finalizer(PyObject *self, PyObject *object) {
        PyObject *util = PyImport_ImportModule("multiprocessing.util"), *result = NULL,
                 *function = PyCFunction_NewEx(&at_exit_def, NULL, NULL);

        if (util != NULL && function != NULL)
                result = PyObject_CallMethod(util, "Finalize", "OO()Oi", Py_None, function, Py_None, 0);
        Py_XDECREF(function);
        Py_XDECREF(util);
        return result;
}

void shutdown_register_multiprocessing(void) {
        static PyMethodDef def = { "_register_finalizer", register_finalizer, METH_O, NULL };
        PyObject *modules = PyImport_GetModuleDict(), *util, *manhole, *function, *result = NULL;

        util = PyDict_GetItemString(modules, "multiprocessing.util"); /* borrowed */
        manhole = PyDict_GetItemString(modules, "manhole");           /* borrowed */
        if (util == NULL || manhole == NULL)
                return;
        function = PyCFunction_NewEx(&def, NULL, NULL);
        if (function != NULL)
                result = PyObject_CallMethod(util, "register_after_fork", "OO", manhole, function);
        PyErr_Clear();
        Py_XDECREF(result);
        Py_XDECREF(function);
}

/* Up to 3.12 threading keeps an entry for every foreign thread that asked for its own name. */
static void forget_dummy_thread(void) {
        PyObject *modules = PyImport_GetModuleDict(), *threading, *active = NULL, *dummy = NULL, *id, *entry;

        threading = PyDict_GetItemString(modules, "threading"); /* borrowed */
        id = PyLong_FromUnsignedLong(PyThread_get_thread_ident());
        if (threading != NULL && id != NULL) {
                active = PyObject_GetAttrString(threading, "_active");
                dummy = PyObject_GetAttrString(threading, "_DummyThread");
        }
        if (active != NULL && dummy != NULL && PyDict_Check(active)) {
                entry = PyDict_GetItem(active, id); /* borrowed */
                if (entry != NULL && PyObject_IsInstance(entry, dummy) == 1)
                        PyDict_DelItem(active, id);
        }
        PyErr_Clear();
        Py_XDECREF(dummy);
        Py_XDECREF(active);
        Py_XDECREF(id);
}

/* Calls a method without arguments, whatever comes of it. */
static void call_quietly(PyObject *object, const char *name) {
        PyObject *result = PyObject_CallMethod(object, name, NULL);

        PyErr_Clear();
        Py_XDECREF(result);
}

/*
 * A blocking call of a console makes gevent or eventlet a hub for its thread, with descriptors of
 * its own that nobody would close. They are looked at only where the application has them.
 */
static void destroy_gevent_hub(PyObject *modules) {
        PyObject *module = PyDict_GetItemString(modules, "gevent._hub_local"), *hub; /* borrowed */

        if (module == NULL)
                return;
        hub = PyObject_CallMethod(module, "get_hub_if_exists", NULL);
        if (hub != NULL && hub != Py_None)
                call_quietly(hub, "destroy");
        PyErr_Clear();
        Py_XDECREF(hub);
}

static void destroy_eventlet_hub(PyObject *modules) {
        PyObject *module = PyDict_GetItemString(modules, "eventlet.hubs"), *local, *hub = NULL, *poll = NULL;

        if (module == NULL)
                return;
        local = PyObject_GetAttrString(module, "_threadlocal");
        if (local != NULL)
                hub = PyObject_GetAttrString(local, "hub");
        if (hub != NULL) {
                PyObject *result = PyObject_CallMethod(hub, "abort", "i", 1);

                PyErr_Clear();
                Py_XDECREF(result);
                poll = PyObject_GetAttrString(hub, "poll");
        }
        if (poll != NULL)
                call_quietly(poll, "close");
        if (hub != NULL && PyObject_SetAttrString(local, "hub", NULL) < 0)
                PyErr_Clear();
        PyErr_Clear();
        Py_XDECREF(poll);
        Py_XDECREF(hub);
        Py_XDECREF(local);
}

void shutdown_forget_thread(void) {
        PyObject *modules = PyImport_GetModuleDict();

        destroy_gevent_hub(modules);
        destroy_eventlet_hub(modules);
        forget_dummy_thread();
}
