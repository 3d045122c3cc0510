/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/coroutine.h"

#include <unistd.h>

#include "agent/turn.h"

typedef struct Coroutine {
        PyObject base;
        PyObject *inner;      /* owned; NULL when it is over */
        PyObject *loop;       /* owned */
        PyObject *task;       /* owned: the loop's, from its beginning to its end */
        Client client;        /* what the user's code sees of the session; owns what is in it */
        bool raised;          /* KeyboardInterrupt, since the loop is in it */
        unsigned long thread; /* that is in it now, or 0 */
        PyObject *result;     /* owned; NULL unless it ended well */
        PyObject *type, *value, *traceback; /* owned: how it ended otherwise */
        bool over;            /* under the session's lock */
} Coroutine;

static PyTypeObject *coroutine_type; /* owned for good */

/* A child after fork has another thread's locks in whatever state they were. */
static bool is_ours(const Coroutine *co) {
        return co->client.session->owner == getpid();
}

/* It is over: keeps the exception that is set, or the result that one carries. */
static void finish(Coroutine *co) {
        PyObject *task = co->task, *inner = co->inner;

        if (PyErr_ExceptionMatches(PyExc_StopIteration)) {
                PyObject *type, *value, *traceback;

                PyErr_Fetch(&type, &value, &traceback);
                PyErr_NormalizeException(&type, &value, &traceback);
                co->result = PyObject_GetAttrString(value, "value");
                Py_XDECREF(type);
                Py_XDECREF(value);
                Py_XDECREF(traceback);
        }
        if (PyErr_Occurred()) {
                PyErr_Fetch(&co->type, &co->value, &co->traceback);
                PyErr_NormalizeException(&co->type, &co->value, &co->traceback);
        }
        co->task = co->inner = NULL;
        Py_XDECREF(task);
        Py_XDECREF(inner);
        if (is_ours(co))
                turn_raise_flag(co->client.session, &co->over);
}

/* What was raised too late to end it cancels it instead: perhaps it was caught, perhaps not yet seen. */
static void withdraw(Coroutine *co, bool goes_on) {
        PyObject *result = NULL;

        co->raised = false;
        PyThreadState_SetAsyncExc(co->thread, NULL);
        if (goes_on && co->task != NULL)
                result = PyObject_CallMethod(co->task, "cancel", NULL);
        if (goes_on)
                PyErr_Clear();
        Py_XDECREF(result);
}

/* Goes on with it until it waits or ends. What it waits for, a new reference, or NULL with
 * StopIteration set when it is over. */
static PyObject *step(Coroutine *co, const char *method, PyObject *args) {
        Client *before = client_current();
        PyObject *function, *yielded = NULL;

        if (co->inner == NULL) {
                PyErr_SetString(PyExc_RuntimeError, "this coroutine is over");
                return NULL;
        }
        co->thread = PyThread_get_thread_ident();
        if (is_ours(co))
                client_set_current(&co->client);
        function = PyObject_GetAttrString(co->inner, method);
        if (function != NULL)
                yielded = PyObject_CallObject(function, args);
        Py_XDECREF(function);
        client_set_current(before);
        if (co->raised)
                withdraw(co, yielded != NULL);
        co->thread = 0;
        if (yielded == NULL) {
                finish(co);
                PyErr_SetNone(PyExc_StopIteration);
        }
        return yielded;
}

static PyObject *coroutine_next(PyObject *self) {
        PyObject *args = PyTuple_Pack(1, Py_None), *yielded = NULL;

        if (args != NULL)
                yielded = step((Coroutine *)self, "send", args);
        Py_XDECREF(args);
        return yielded;
}

static PyObject *coroutine_send(PyObject *self, PyObject *args) {
        return step((Coroutine *)self, "send", args);
}

static PyObject *coroutine_throw(PyObject *self, PyObject *args) {
        return step((Coroutine *)self, "throw", args);
}

static PyObject *coroutine_close(PyObject *self, PyObject *args) {
        Coroutine *co = (Coroutine *)self;
        PyObject *result;

        if (co->inner == NULL)
                Py_RETURN_NONE;
        result = PyObject_CallMethod(co->inner, "close", NULL);
        if (result != NULL)
                PyErr_SetString(PyExc_RuntimeError, "the coroutine was closed");
        Py_XDECREF(result);
        finish(co);
        Py_RETURN_NONE;
}

static PyObject *coroutine_await(PyObject *self) {
        Py_INCREF(self);
        return self;
}

/* As the console's thread. A task of another kind may have no name. */
static void name_task(Coroutine *co) {
        PyObject *name = PyUnicode_FromFormat("Manhole < PID:%ld", (long)co->client.session->peer.pid),
                 *result = NULL;

        if (name != NULL)
                result = PyObject_CallMethod(co->task, "set_name", "O", name);
        PyErr_Clear();
        Py_XDECREF(result);
        Py_XDECREF(name);
}

/* Called by the loop, and so never raises. */
static PyObject *coroutine_start(PyObject *self, PyObject *unused) {
        Coroutine *co = (Coroutine *)self;
        PyObject *task, *result;

        if (co->inner == NULL)
                Py_RETURN_NONE;
        task = PyObject_CallMethod(co->loop, "create_task", "O", self);
        if (task != NULL && co->inner != NULL) {
                co->task = task;
                name_task(co);
        } else if (task != NULL)
                Py_DECREF(task); /* an eager one is over already */
        else {
                PyObject *type, *value, *traceback;

                /* Or it would be reported as never awaited. */
                PyErr_Fetch(&type, &value, &traceback);
                result = PyObject_CallMethod(co->inner, "close", NULL);
                PyErr_Clear();
                Py_XDECREF(result);
                PyErr_Restore(type, value, traceback);
                finish(co);
        }
        Py_RETURN_NONE;
}

static PyObject *coroutine_cancel(PyObject *self, PyObject *unused) {
        Coroutine *co = (Coroutine *)self;
        PyObject *result = NULL;

        if (co->task != NULL)
                result = PyObject_CallMethod(co->task, "cancel", NULL);
        PyErr_Clear();
        Py_XDECREF(result);
        Py_RETURN_NONE;
}

/* asyncio describes tasks by the names, code and frames of their coroutines. */
static PyObject *coroutine_getattro(PyObject *self, PyObject *name) {
        Coroutine *co = (Coroutine *)self;
        PyObject *value = PyObject_GenericGetAttr(self, name);

        if (value != NULL || co->inner == NULL || !PyErr_ExceptionMatches(PyExc_AttributeError))
                return value;
        PyErr_Clear();
        return PyObject_GetAttr(co->inner, name);
}

/* A loop that is closed forgets its tasks. */
static void coroutine_dealloc(PyObject *self) {
        Coroutine *co = (Coroutine *)self;
        PyTypeObject *type = Py_TYPE(self);
        PyObject *error_type, *error, *traceback;

        PyErr_Fetch(&error_type, &error, &traceback);
        if (is_ours(co))
                (void)session_unref(co->client.session);
        Py_CLEAR(co->client.globals);
        Py_CLEAR(co->client.displayed);
        Py_CLEAR(co->client.leftover);
        Py_CLEAR(co->inner);
        Py_CLEAR(co->loop);
        Py_CLEAR(co->task);
        Py_CLEAR(co->result);
        Py_CLEAR(co->type);
        Py_CLEAR(co->value);
        Py_CLEAR(co->traceback);
        PyErr_Restore(error_type, error, traceback);
        ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
        Py_DECREF(type);
}

static PyMethodDef coroutine_methods[] = {
        { "send", coroutine_send, METH_VARARGS, NULL },
        { "throw", coroutine_throw, METH_VARARGS, NULL },
        { "close", coroutine_close, METH_NOARGS, NULL },
        { "_start", coroutine_start, METH_NOARGS, NULL },
        { "_cancel", coroutine_cancel, METH_NOARGS, NULL },
        {},
};

static PyObject *coroutine_refuse_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
        PyErr_SetString(PyExc_TypeError, "the agent alone makes its coroutines");
        return NULL;
}

static PyType_Slot coroutine_slots[] = {
        { Py_tp_new, (void *)coroutine_refuse_new },
        { Py_tp_dealloc, (void *)coroutine_dealloc },
        { Py_tp_methods, coroutine_methods },
        { Py_tp_getattro, (void *)coroutine_getattro },
        { Py_tp_iter, (void *)coroutine_await },
        { Py_tp_iternext, (void *)coroutine_next },
        { Py_am_await, (void *)coroutine_await },
        {},
};

static PyType_Spec coroutine_spec = {
        .name = "manhole._agent.Coroutine",
        .basicsize = sizeof(Coroutine),
        .flags = Py_TPFLAGS_DEFAULT,
        .slots = coroutine_slots,
};

PyObject *coroutine_new(Client *c, PyObject *inner, PyObject *loop) {
        Coroutine *co;

        if (coroutine_type == NULL)
                coroutine_type = (PyTypeObject *)PyType_FromSpec(&coroutine_spec);
        if (coroutine_type == NULL)
                return NULL;
        co = (Coroutine *)PyType_GenericAlloc(coroutine_type, 0);
        if (co == NULL)
                return NULL;
        co->client = *c;
        co->client.aside = true;
        co->client.main_thread = co->client.signalled = false;
        co->client.leftover = co->client.compiler = NULL;
        (void)session_ref(c->session);
        Py_INCREF(c->globals);
        Py_XINCREF(c->displayed);
        Py_INCREF(inner);
        co->inner = inner;
        Py_INCREF(loop);
        co->loop = loop;
        return (PyObject *)co;
}

PyObject *coroutine_inner(PyObject *object) {
        const Coroutine *co = (const Coroutine *)object;

        return Py_TYPE(object) == coroutine_type && co->inner != NULL ? co->inner : object;
}

static int call_soon(Coroutine *co, const char *method) {
        PyObject *function = PyObject_GetAttrString((PyObject *)co, method), *handle = NULL;

        if (function != NULL)
                handle = PyObject_CallMethod(co->loop, "call_soon_threadsafe", "O", function);
        Py_XDECREF(function);
        Py_XDECREF(handle);
        return handle == NULL ? -1 : 0;
}

int coroutine_begin(PyObject *self) {
        return call_soon((Coroutine *)self, "_start");
}

const bool *coroutine_over(PyObject *self) {
        return &((Coroutine *)self)->over;
}

static bool loop_runs(Coroutine *co) {
        PyObject *running = PyObject_CallMethod(co->loop, "is_running", NULL);
        bool runs = running != NULL && PyObject_IsTrue(running) == 1;

        PyErr_Clear();
        Py_XDECREF(running);
        return runs;
}

bool coroutine_interrupt(PyObject *self) {
        Coroutine *co = (Coroutine *)self;
        int r;

        if (co->thread != 0) {
                co->raised = true;
                PyThreadState_SetAsyncExc(co->thread, PyExc_KeyboardInterrupt);
                return true;
        }
        r = loop_runs(co) ? call_soon(co, "_cancel") : -1;
        PyErr_Clear();
        return r == 0;
}

/* Whether it ended as one that was cancelled. */
static bool was_cancelled(const Coroutine *co) {
        PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), "asyncio"), *class = NULL;
        bool yes;

        if (module != NULL)
                class = PyObject_GetAttrString(module, "CancelledError");
        yes = class != NULL && PyErr_GivenExceptionMatches(co->type, class);
        PyErr_Clear();
        Py_XDECREF(class);
        return yes;
}

PyObject *coroutine_result(PyObject *self, Client *c, bool interrupted) {
        Coroutine *co = (Coroutine *)self;
        PyObject *displayed = c->displayed, *result = co->result;

        c->displayed = co->client.displayed;
        co->client.displayed = displayed;
        co->result = NULL;
        if (result != NULL)
                return result;
        if (interrupted && was_cancelled(co))
                PyErr_SetNone(PyExc_KeyboardInterrupt);
        else {
                PyErr_Restore(co->type, co->value, co->traceback);
                co->type = co->value = co->traceback = NULL;
        }
        return NULL;
}
