/* SPDX-License-Identifier: BSD-2-Clause */
#include <Python.h>

#include <stdbool.h>

#include "agent/client.h"
#include "agent/redirect.h"
#include "agent/stream.h"
#include "lib/console.h"

static const char *const slot_names[] = {
        "stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__",
};
#define N_SLOTS (sizeof(slot_names) / sizeof(slot_names[0]))

static struct {
        unsigned n_consoles;
        PyObject *routers[N_SLOTS];   /* owned for good; one for each place, made at first need */
        PyObject *originals[N_SLOTS]; /* owned while redirected, else NULL */
        PyObject *hook;               /* owned for good */
        PyObject *original_hook;      /* owned while redirected, else NULL */
} redirect;

/* Shows a value as the prompt does. `_` belongs to the console: the usual hook would set it for the
 * whole process, where gettext keeps its function of that name. */
static PyObject *display(Client *c, PyObject *value) {
        PyObject *old, *text, *line = NULL;
        int r = -1;

        if (value == Py_None)
                Py_RETURN_NONE;
        text = PyObject_Repr(value);
        if (text != NULL)
                line = PyUnicode_FromFormat("%U\n", text);
        if (line != NULL)
                r = client_write(c, CONSOLE_OUTPUT, line);
        Py_XDECREF(text);
        Py_XDECREF(line);
        if (r < 0)
                return NULL;

        /* A variable of that name that the user has made stays. */
        old = PyDict_GetItemString(c->globals, "_");
        if (old == NULL || old == c->displayed) {
                if (PyDict_SetItemString(c->globals, "_", value) < 0)
                        return NULL;
                old = c->displayed;
                Py_INCREF(value);
                c->displayed = value;
                Py_XDECREF(old);
        }
        Py_RETURN_NONE;
}

static PyObject *hook_call(PyObject *self, PyObject *value) {
        Client *c = client_current();
        PyObject *hook = redirect.original_hook;

        if (c != NULL)
                return display(c, value);
        if (hook == NULL)
                hook = PySys_GetObject("__displayhook__");
        if (hook == NULL)
                Py_RETURN_NONE;
        return PyObject_CallFunctionObjArgs(hook, value, NULL);
}

static PyMethodDef hook_def = { "displayhook", hook_call, METH_O, NULL };

static int make_routers(void) {
        for (size_t i = 0; i < N_SLOTS; i++)
                if (redirect.routers[i] == NULL) {
                        redirect.routers[i] = stream_new((StreamKind)(i % _STREAM_KIND_MAX));
                        if (redirect.routers[i] == NULL)
                                return -1;
                }
        if (redirect.hook == NULL)
                redirect.hook = PyCFunction_NewEx(&hook_def, NULL, NULL);
        return redirect.hook == NULL ? -1 : 0;
}

static void put_in(size_t i) {
        PyObject *original = PySys_GetObject(slot_names[i]), *router = redirect.routers[i];
        size_t twin = i - _STREAM_KIND_MAX;

        /* Ours is there when somebody kept it and has put it back: it still knows its original. */
        if (original == NULL || stream_check(original))
                return;
        /* sys.stdout is sys.__stdout__ as long as it was so. */
        if (i >= _STREAM_KIND_MAX && redirect.originals[twin] == original)
                router = redirect.routers[twin];
        else
                stream_set_original(router, original);
        Py_INCREF(original);
        redirect.originals[i] = original;
        PySys_SetObject(slot_names[i], router);
}

int redirect_begin(void) {
        PyObject *hook;

        if (redirect.n_consoles == 0) {
                if (make_routers() < 0)
                        return -1;
                for (size_t i = 0; i < N_SLOTS; i++)
                        put_in(i);
                hook = PySys_GetObject("displayhook");
                if (hook != NULL && hook != redirect.hook) {
                        Py_INCREF(hook);
                        redirect.original_hook = hook;
                        PySys_SetObject("displayhook", redirect.hook);
                }
        }
        redirect.n_consoles++;
        return 0;
}

void redirect_reset(void) {
        redirect.n_consoles = 0;
        for (size_t i = 0; i < N_SLOTS; i++) {
                PyObject *now = PySys_GetObject(slot_names[i]);

                if (redirect.originals[i] != NULL && now != NULL && stream_check(now))
                        PySys_SetObject(slot_names[i], redirect.originals[i]);
                Py_CLEAR(redirect.originals[i]);
        }
        if (redirect.original_hook != NULL && PySys_GetObject("displayhook") == redirect.hook)
                PySys_SetObject("displayhook", redirect.original_hook);
        Py_CLEAR(redirect.original_hook);
}

void redirect_end(void) {
        if (redirect.n_consoles > 0 && --redirect.n_consoles == 0)
                redirect_reset();
}
