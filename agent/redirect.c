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
        PyObject *hook;          /* owned for good; made for original_hook */
        PyObject *original_hook; /* owned as long as hook */
        bool hooked;             /* hook is in its place */
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
        if (c->left) /* while the value was shown */
                Py_RETURN_NONE;

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

static PyObject *hook_call(PyObject *original, PyObject *value) {
        Client *c = client_current();

        if (client_left() != NULL)
                Py_RETURN_NONE; /* nobody waits for it */
        return c != NULL ? display(c, value) : PyObject_CallFunctionObjArgs(original, value, NULL);
}

static PyMethodDef hook_def = { "displayhook", hook_call, METH_O, NULL };

/* Whether anybody but us holds on to it. -1 with an exception set. */
static int is_kept(PyObject *object) {
        PyObject *count = PySys_GetObject("getrefcount"), *args = PyTuple_Pack(1, object), *n = NULL;
        long references;

        if (count != NULL && args != NULL)
                n = PyObject_CallObject(count, args);
        Py_XDECREF(args);
        if (n == NULL)
                return -1;
        references = PyLong_AsLong(n);
        Py_DECREF(n);
        return references > 2; /* ours and the tuple's */
}

/*
 * The router for a place, standing for this stream. One that the application has kept never stands for
 * another: what it has put in the place since then may write to it, and would be written to for ever.
 * It then stays with whoever has it, with the reference that was ours (stream.h says why).
 */
static PyObject *get_router(size_t i, PyObject *original) {
        PyObject *router = redirect.routers[i];
        int kept = 0;

        if (router != NULL && stream_original(router) != original)
                kept = is_kept(router);
        if (kept < 0)
                return NULL;
        if (router == NULL || kept) {
                router = stream_new((StreamKind)(i % _STREAM_KIND_MAX));
                if (router == NULL)
                        return NULL;
                redirect.routers[i] = router;
        }
        stream_set_original(router, original);
        return router;
}

static int put_in(size_t i) {
        PyObject *original = PySys_GetObject(slot_names[i]), *router;
        size_t twin = i - _STREAM_KIND_MAX;
        int r;

        if (original == NULL || redirect.originals[i] != NULL)
                return 0;
        if (stream_check(original)) {
                /* Somebody kept ours and has put it back: it goes on, and is taken out at the end. */
                redirect.originals[i] = stream_original(original);
                Py_INCREF(redirect.originals[i]);
                return 0;
        }
        Py_INCREF(original);
        /* sys.stdout is sys.__stdout__ as long as it was so. */
        if (i >= _STREAM_KIND_MAX && redirect.originals[twin] == original)
                router = PySys_GetObject(slot_names[twin]);
        else
                router = get_router(i, original);
        r = router == NULL ? -1 : PySys_SetObject(slot_names[i], router);
        if (r == 0)
                redirect.originals[i] = original;
        else
                Py_DECREF(original);
        return r;
}

/* As for the routers: one that stands for another hook is a new one. */
static int put_in_hook(void) {
        PyObject *original = PySys_GetObject("displayhook"), *hook;

        if (original == NULL || original == redirect.hook)
                return 0;
        if (original != redirect.original_hook) {
                hook = PyCFunction_NewEx(&hook_def, original, NULL);
                if (hook == NULL)
                        return -1;
                Py_INCREF(original);
                redirect.hook = hook;
                redirect.original_hook = original;
        }
        redirect.hooked = PySys_SetObject("displayhook", redirect.hook) == 0;
        return redirect.hooked ? 0 : -1;
}

int redirect_begin(void) {
        int r = 0;

        if (redirect.n_consoles == 0) {
                for (size_t i = 0; r == 0 && i < N_SLOTS; i++)
                        r = put_in(i);
                if (r == 0)
                        r = put_in_hook();
                if (r < 0) {
                        redirect_reset();
                        return r;
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
        if (redirect.hooked && PySys_GetObject("displayhook") == redirect.hook)
                PySys_SetObject("displayhook", redirect.original_hook);
        redirect.hooked = false;
}

void redirect_end(void) {
        if (redirect.n_consoles > 0 && --redirect.n_consoles == 0)
                redirect_reset();
}
