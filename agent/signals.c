/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/signals.h"

#include <signal.h>
#include <stdbool.h>

#include "agent/log.h"

static struct {
        int number;              /* 0: none */
        PyObject *handler;       /* owned */
        PyObject *previous;      /* owned; None where it was not Python's */
        struct sigaction native; /* a C library's handler, of which Python knows nothing */
} state;

/* By its name in signal.Signals; 0 without an exception where it has none such. */
static long find(PyObject *name) {
        PyObject *module = PyImport_ImportModule("signal"), *signals = NULL, *full, *found = NULL;
        long number = 0;

        if (module != NULL)
                signals = PyObject_GetAttrString(module, "Signals");
        for (int i = 0; signals != NULL && found == NULL && i < 2; i++) {
                full = PyUnicode_FromFormat(i == 0 ? "%U" : "SIG%U", name);
                if (full != NULL)
                        found = PyObject_GetItem(signals, full);
                Py_XDECREF(full);
                PyErr_Clear();
        }
        if (found != NULL)
                number = PyLong_AsLong(found);
        PyErr_Clear();
        Py_XDECREF(found);
        Py_XDECREF(signals);
        Py_XDECREF(module);
        return number;
}

int signals_parse(const char *name, PyObject *value) {
        long number;

        if (PyUnicode_Check(value))
                number = find(value);
        else if (PyLong_Check(value)) {
                number = PyLong_AsLong(value);
                PyErr_Clear();
        } else {
                PyErr_Format(PyExc_TypeError, "%s: a signal's number or name is wanted", name);
                return 0;
        }
        if (number < 1 || number > SIGRTMAX) {
                PyErr_Format(PyExc_ValueError, "%s: %R is no signal", name, value);
                return 0;
        }
        return (int)number;
}

static PyObject *set(int number, PyObject *handler) {
        PyObject *module = PyImport_ImportModule("signal"), *previous = NULL;

        if (module != NULL)
                previous = PyObject_CallMethod(module, "signal", "iO", number, handler);
        Py_XDECREF(module);
        return previous;
}

/* The ValueError of another thread than the main one, the OSError of SIGKILL: by the option's name. */
static int refuse(const char *name) {
        PyObject *type, *value, *traceback;

        PyErr_Fetch(&type, &value, &traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        PyErr_Format(PyExc_ValueError, "%s: %S", name, value);
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        return -1;
}

int signals_replace(const char *name, int number, PyObject *handler) {
        struct sigaction native;
        PyObject *previous;

        if (sigaction(number, NULL, &native) < 0 || (previous = set(number, handler)) == NULL) {
                if (!PyErr_Occurred())
                        PyErr_SetFromErrno(PyExc_OSError);
                return refuse(name);
        }
        if (number == state.number && previous == state.handler) {
                /* Ours gives way to ours: what comes back is what was there before both. */
                Py_DECREF(previous);
                Py_CLEAR(state.handler);
        } else {
                signals_restore();
                state.previous = previous;
                state.native = native;
        }
        Py_INCREF(handler);
        state.number = number;
        state.handler = handler;
        return 0;
}

static bool is_in_place(void) {
        PyObject *module = PyImport_ImportModule("signal"), *now = NULL;
        bool ours;

        if (module != NULL)
                now = PyObject_CallMethod(module, "getsignal", "i", state.number);
        ours = now == state.handler;
        PyErr_Clear();
        Py_XDECREF(now);
        Py_XDECREF(module);
        return ours;
}

static int put_back(void) {
        PyObject *standard = NULL, *old;

        if (state.previous == Py_None) {
                standard = PyLong_FromLong(0); /* SIG_DFL, as Python writes it */
                if (standard == NULL)
                        return -1;
        }
        old = set(state.number, standard != NULL ? standard : state.previous);
        if (old != NULL)
                sigaction(state.number, &state.native, NULL);
        Py_XDECREF(standard);
        Py_XDECREF(old);
        return old == NULL ? -1 : 0;
}

void signals_restore(void) {
        PyObject *handler, *previous;

        if (state.number == 0)
                return;
        if (is_in_place() && put_back() < 0) {
                PyErr_Clear();
                log_line("The handler of signal %d stays: only the main thread can put the last one back.",
                         state.number);
        }
        handler = state.handler;
        previous = state.previous;
        state.number = 0;
        state.handler = state.previous = NULL;
        Py_XDECREF(handler);
        Py_XDECREF(previous);
}
