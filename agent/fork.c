/* SPDX-License-Identifier: BSD-2-Clause */
#include <Python.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "agent/changed.h"
#include "agent/client.h"
#include "agent/dump.h"
#include "agent/fork.h"
#include "agent/gil.h"
#include "agent/handover.h"
#include "agent/history.h"
#include "agent/listener.h"
#include "agent/log.h"
#include "agent/mainthread.h"
#include "agent/redirect.h"
#include "agent/stuck.h"
#include "agent/thread.h"

static struct {
        void (*native)(void), (*python)(void);
} then;

static void prepare(void) {
        changed_setup(); /* perhaps the I/O thread has not come to it: the child would note its own start */
        thread_fork_prepare();
        listener_fork_prepare();
        gil_fork_prepare();
        history_fork_prepare();
}

static void in_parent(void) {
        history_fork_parent();
        gil_fork_parent();
        listener_fork_parent();
}

static void in_child(void) {
        Client *c = client_current();

        history_fork_child();
        gil_fork_child();
        log_reset();
        thread_fork_child();
        mainthread_fork_child();
        stuck_fork_child();
        handover_fork_child();
        listener_fork_child(c != NULL ? c->session : NULL);
        then.native();
}

static PyObject *after_in_child(PyObject *self, PyObject *args) {
        dump_fork_known();
        redirect_reset();
        then.python();
        Py_RETURN_NONE;
}

static PyMethodDef after_in_child_def = { "after_in_child", after_in_child, METH_NOARGS, NULL };

/* 3.6 has no such hook: its children count as a C library's. */
static int register_python(void) {
        PyObject *os = PyImport_ImportModule("os"), *function, *call = NULL, *args = NULL, *kwargs = NULL,
                 *result = NULL;

        if (os != NULL && !PyObject_HasAttrString(os, "register_at_fork")) {
                Py_DECREF(os);
                return 0;
        }
        function = PyCFunction_NewEx(&after_in_child_def, NULL, NULL);
        if (os != NULL)
                call = PyObject_GetAttrString(os, "register_at_fork");
        if (call != NULL && function != NULL) {
                args = PyTuple_New(0);
                kwargs = PyDict_New();
        }
        if (args != NULL && kwargs != NULL && PyDict_SetItemString(kwargs, "after_in_child", function) == 0)
                result = PyObject_Call(call, args, kwargs);
        Py_XDECREF(kwargs);
        Py_XDECREF(args);
        Py_XDECREF(call);
        Py_XDECREF(function);
        Py_XDECREF(os);
        if (result == NULL)
                return -1;
        Py_DECREF(result);
        return 0;
}

int fork_setup(void (*then_native)(void), void (*then_python)(void)) {
        static bool native, python;

        then.native = then_native;
        then.python = then_python;
        if (!native) {
                int r = pthread_atfork(prepare, in_parent, in_child);

                if (r != 0) {
                        errno = r;
                        PyErr_SetFromErrno(PyExc_OSError);
                        return -1;
                }
                native = true;
        }
        if (!python) {
                if (register_python() < 0)
                        return -1;
                python = true;
        }
        return 0;
}
