/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/await.h"

#include "agent/coroutine.h"
#include "agent/loop.h"
#include "agent/turn.h"

#define CO_COROUTINE 0x80 /* of inspect, where it has the same name */

bool await_is_possible(void) {
        PyObject *type, *value, *traceback, *loop;

        if (!PyErr_ExceptionMatches(PyExc_SyntaxError))
                return false;
        PyErr_Fetch(&type, &value, &traceback);
        loop = loop_find();
        PyErr_Restore(type, value, traceback);
        Py_XDECREF(loop);
        return loop != NULL;
}

/* Adds to an int attribute the bits @set, and takes @unset from it. */
static int change_flags(PyObject *object, long set, long unset) {
        PyObject *flags = PyObject_GetAttrString(object, "flags"), *changed = NULL;
        long bits = flags == NULL ? -1 : PyLong_AsLong(flags);
        int r = -1;

        if (!PyErr_Occurred())
                changed = PyLong_FromLong((bits | set) & ~unset);
        if (changed != NULL)
                r = PyObject_SetAttrString(object, "flags", changed);
        Py_XDECREF(changed);
        Py_XDECREF(flags);
        return r;
}

PyObject *await_compile_line(PyObject *compiler, PyObject *source, const char *file_name) {
        PyObject *compile, *code = NULL, *type, *value, *traceback;

        PyErr_Fetch(&type, &value, &traceback);
        compile = PyObject_GetAttrString(compiler, "compiler");
        if (compile == NULL || change_flags(compile, AWAIT_FLAGS, 0) < 0) {
                Py_XDECREF(compile);
                PyErr_Restore(type, value, traceback);
                return NULL;
        }
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        code = PyObject_CallFunction(compiler, "Oss", source, file_name, "single");
        PyErr_Fetch(&type, &value, &traceback);
        (void)change_flags(compile, 0, AWAIT_FLAGS);
        PyErr_Restore(type, value, traceback);
        Py_DECREF(compile);
        return code;
}

bool await_is_wanted(PyObject *code) {
        PyObject *flags = PyObject_GetAttrString(code, "co_flags");
        bool wanted = flags != NULL && (PyLong_AsLong(flags) & CO_COROUTINE) != 0;

        PyErr_Clear();
        Py_XDECREF(flags);
        return wanted;
}

static int wait_once(Client *c, PyObject *task) {
        PyThreadState *gil = PyEval_SaveThread();
        int r = turn_wait_flag(c->session, coroutine_over(task));

        PyEval_RestoreThread(gil);
        return r;
}

/* The first interrupt asks the coroutine to end; it may have something to do for that. The second
 * leaves it to itself. */
static PyObject *wait(Client *c, PyObject *task) {
        bool interrupted = false;
        int r;

        while ((r = wait_once(c, task)) != 0) {
                bool asked = coroutine_interrupt(task);

                if (interrupted || !asked || r == SESSION_E_LOST) {
                        PyErr_SetString(PyExc_KeyboardInterrupt, "the coroutine was left to itself");
                        return NULL;
                }
                interrupted = true;
        }
        return coroutine_result(task, c, interrupted);
}

static PyObject *run(Client *c, PyObject *coroutine) {
        PyObject *loop = loop_find(), *task = NULL, *result = NULL;

        if (loop == NULL)
                PyErr_SetString(PyExc_RuntimeError, "the application's event loop does not run any more");
        else if (loop_is_ours(loop))
                PyErr_SetString(PyExc_RuntimeError, "the event loop waits for this console");
        else
                task = coroutine_new(c, coroutine, loop);
        if (task != NULL && coroutine_begin(task) == 0)
                result = wait(c, task);
        Py_XDECREF(task);
        Py_XDECREF(loop);
        return result;
}

PyObject *await_consume(Client *c, PyObject *coroutine) {
        PyObject *result = NULL;

        if (c->left) {
                PyErr_SetNone(PyExc_KeyboardInterrupt);
                Py_DECREF(coroutine);
                return NULL;
        }
        /* From here on an interrupt is for the coroutine, not for what is called here to run it. */
        turn_begin_wait(c->session);
        if (client_raise_pending(c) == 0)
                result = run(c, coroutine);
        (void)turn_end_wait(c->session);
        Py_DECREF(coroutine);
        return result;
}
