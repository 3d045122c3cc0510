/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/shutdown.h"

#include "agent/listener.h"
#include "agent/log.h"
#include "agent/redirect.h"

/* How often the application's signal handlers get their turn meanwhile. */
#define WAIT_STEP_MSEC 100

/* 0, or -1 with the exception of a signal handler set. */
static int wait_consoles(void) {
        bool idle = false;

        while (!idle) {
                Py_BEGIN_ALLOW_THREADS
                idle = listener_wait_consoles(WAIT_STEP_MSEC);
                Py_END_ALLOW_THREADS
                if (PyErr_CheckSignals() < 0)
                        return -1;
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
        PyObject *threading = PyImport_ImportModule("threading"), *now = NULL, *fresh;

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

        Py_BEGIN_ALLOW_THREADS
        listener_stop();
        Py_END_ALLOW_THREADS
        redirect_reset();
        log_flush();
        if (r < 0)
                return NULL;
        Py_RETURN_NONE;
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

/* A blocking call of a console makes gevent a hub for its thread, with descriptors of its own. */
static void destroy_gevent_hub(void) {
        PyObject *module, *hub = NULL, *result = NULL;

        module = PyDict_GetItemString(PyImport_GetModuleDict(), "gevent._hub_local"); /* borrowed */
        if (module != NULL)
                hub = PyObject_CallMethod(module, "get_hub_if_exists", NULL);
        if (hub != NULL && hub != Py_None)
                result = PyObject_CallMethod(hub, "destroy", NULL);
        PyErr_Clear();
        Py_XDECREF(result);
        Py_XDECREF(hub);
}

void shutdown_forget_thread(void) {
        destroy_gevent_hub();
        forget_dummy_thread();
}
