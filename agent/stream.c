/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/stream.h"

#include <string.h>

#include "agent/client.h"
#include "agent/io.h"
#include "agent/lines.h"
#include "agent/text.h"
#include "lib/console.h"

typedef struct Stream {
        PyObject base;
        StreamKind kind;
        bool binary;        /* `buffer` of a text stream */
        PyObject *original; /* owned, never NULL; None where the application has no such stream */
        PyObject *buffer;   /* owned: the binary twin, or NULL */
} Stream;

static PyTypeObject *stream_type; /* owned for good */

/* Interned, owned for good: print() looks them up for each piece that it writes. */
static PyObject *name_write, *name_writelines;

/* A write that happens inside a router's write, in this thread: copied once already. */
static _Thread_local unsigned depth;

/* What it stands in for; another thread may give it another one meanwhile. */
static PyObject *take_original(PyObject *self) {
        PyObject *original = ((Stream *)self)->original;

        Py_INCREF(original);
        return original;
}

/* The client this stream stands for in the calling thread, or NULL. */
static Client *stream_client(const Stream *s) {
        Client *c = client_current();

        /* A thread that was left finds its input at its end, not the application's. */
        if (c == NULL && s->kind == STREAM_STDIN)
                return client_left();
        return c != NULL && s->kind == STREAM_STDERR && !c->redirect_stderr ? NULL : c;
}

static uint32_t output_type(const Stream *s, const Client *c) {
        return c->exec && s->kind == STREAM_STDERR ? CONSOLE_STDERR : CONSOLE_OUTPUT;
}

/* GIL held. Leaves no exception. */
static void copy_out(const Stream *s, PyObject *data) {
        bool is_stderr = s->kind == STREAM_STDERR;
        PyObject *bytes;
        Text t;

        if (PyUnicode_Check(data)) {
                if (text_encode(data, &t) == 0) {
                        io_copy(t.data, t.n, is_stderr);
                        text_done(&t);
                }
        } else if ((bytes = PyBytes_FromObject(data)) != NULL) {
                io_copy(PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes), is_stderr);
                Py_DECREF(bytes);
        }
        PyErr_Clear();
}

/* The thread of a console. */
static PyObject *write_client(const Stream *s, Client *c, PyObject *data) {
        PyObject *bytes;
        Py_ssize_t n;
        int r;

        if (s->binary) {
                bytes = PyBytes_FromObject(data);
                if (bytes == NULL)
                        return NULL;
                n = PyBytes_Size(bytes);
                r = client_write_bytes(c, output_type(s, c), PyBytes_AsString(bytes), (size_t)n);
                Py_DECREF(bytes);
        } else {
                if (!PyUnicode_Check(data))
                        return PyErr_Format(PyExc_TypeError, "write() argument must be str, not %R",
                                            Py_TYPE(data));
                n = PyUnicode_GetLength(data);
                r = client_write(c, output_type(s, c), data);
        }
        return r < 0 ? NULL : PyLong_FromSsize_t(n);
}

static PyObject *stream_write(PyObject *self, PyObject *data) {
        Stream *s = (Stream *)self;
        Client *c = stream_client(s);
        PyObject *original, *result, *type, *value, *traceback;

        if (c != NULL)
                return write_client(s, c, data);

        original = take_original(self);
        depth++;
        if (original == Py_None) {
                result = Py_None;
                Py_INCREF(result);
        } else
                result = PyObject_CallMethodObjArgs(original, name_write, data, NULL);
        depth--;
        Py_DECREF(original);
        if (depth == 0 && (s->binary || PyUnicode_Check(data))) {
                if (result == NULL)
                        PyErr_Fetch(&type, &value, &traceback);
                copy_out(s, data);
                if (result == NULL)
                        PyErr_Restore(type, value, traceback);
        }
        return result;
}

static PyObject *stream_writelines(PyObject *self, PyObject *lines) {
        PyObject *iterator = PyObject_GetIter(lines), *line;

        if (iterator == NULL)
                return NULL;
        while ((line = PyIter_Next(iterator)) != NULL) {
                PyObject *result = PyObject_CallMethodObjArgs(self, name_write, line, NULL);

                Py_DECREF(line);
                if (result == NULL)
                        break;
                Py_DECREF(result);
        }
        Py_DECREF(iterator);
        if (PyErr_Occurred())
                return NULL;
        Py_RETURN_NONE;
}

/* Input of a console, for the methods below; others' threads get the original's (stream_getattro). */
static Client *input_client(PyObject *self) {
        Client *c = stream_client((Stream *)self);

        if (c == NULL || ((Stream *)self)->kind != STREAM_STDIN) {
                PyErr_SetString(PyExc_OSError, "not readable");
                return NULL;
        }
        return c;
}

static int parse_limit(PyObject *args, Py_ssize_t *ret) {
        PyObject *limit = Py_None;

        if (!PyArg_ParseTuple(args, "|O", &limit))
                return -1;
        *ret = limit == Py_None ? -1 : PyNumber_AsSsize_t(limit, PyExc_OverflowError);
        return PyErr_Occurred() ? -1 : 0;
}

static PyObject *stream_readline(PyObject *self, PyObject *args) {
        Client *c = input_client(self);
        Py_ssize_t limit;

        return c == NULL || parse_limit(args, &limit) < 0 ? NULL : lines_take(c, limit);
}

static PyObject *stream_readlines(PyObject *self, PyObject *args) {
        Client *c = input_client(self);

        return c == NULL ? NULL : lines_take_all(c);
}

static PyObject *stream_read(PyObject *self, PyObject *args) {
        Client *c = input_client(self);
        Py_ssize_t limit;

        return c == NULL || parse_limit(args, &limit) < 0 ? NULL : lines_read(c, limit);
}

static PyObject *stream_none(PyObject *self, PyObject *args) {
        Py_RETURN_NONE;
}

static PyObject *stream_false(PyObject *self, PyObject *args) {
        Py_RETURN_FALSE;
}

static PyObject *stream_readable(PyObject *self, PyObject *args) {
        return PyBool_FromLong(((Stream *)self)->kind == STREAM_STDIN);
}

static PyObject *stream_writable(PyObject *self, PyObject *args) {
        return PyBool_FromLong(((Stream *)self)->kind != STREAM_STDIN);
}

static PyObject *stream_unsupported(PyObject *self, PyObject *args) {
        PyObject *io = PyImport_ImportModule("io"), *error;

        error = io == NULL ? NULL : PyObject_GetAttrString(io, "UnsupportedOperation");
        if (error != NULL)
                PyErr_SetString(error, "a console has no descriptor and no position");
        Py_XDECREF(error);
        Py_XDECREF(io);
        return NULL;
}

/* What the interpreter looks up on the type goes to the original here; the rest in getattro. */
static PyObject *original_call(PyObject *self, const char *name, PyObject *args) {
        PyObject *original = take_original(self), *method = PyObject_GetAttrString(original, name), *result;

        Py_DECREF(original);
        if (method == NULL)
                return NULL;
        result = PyObject_CallObject(method, args);
        Py_DECREF(method);
        return result;
}

static PyObject *stream_enter(PyObject *self, PyObject *args) {
        if (stream_client((Stream *)self) == NULL)
                return original_call(self, "__enter__", NULL);
        Py_INCREF(self);
        return self;
}

static PyObject *stream_exit(PyObject *self, PyObject *args) {
        if (stream_client((Stream *)self) == NULL)
                return original_call(self, "__exit__", args);
        Py_RETURN_NONE;
}

static PyObject *stream_iter(PyObject *self) {
        if (stream_client((Stream *)self) == NULL)
                return original_call(self, "__iter__", NULL);
        Py_INCREF(self);
        return self;
}

static PyObject *stream_next(PyObject *self) {
        PyObject *line;
        Client *c;

        if (stream_client((Stream *)self) == NULL)
                return original_call(self, "__next__", NULL);
        c = input_client(self);
        line = c == NULL ? NULL : lines_take(c, -1);
        if (line != NULL && PyUnicode_GetLength(line) == 0)
                Py_CLEAR(line);
        return line;
}

static PyObject *stream_repr(PyObject *self) {
        Stream *s = (Stream *)self;
        Client *c = stream_client(s);
        PyObject *original, *text;

        if (c == NULL) {
                original = take_original(self);
                text = PyObject_Repr(original);
                Py_DECREF(original);
                return text;
        }
        return PyUnicode_FromFormat("<manhole console of PID %ld>", (long)c->session->peer.pid);
}

/* Pieces are written by these names, mostly; both are interned nearly always. */
static bool is_write(PyObject *name) {
        return name == name_write || name == name_writelines ||
               PyUnicode_Compare(name, name_write) == 0 || PyUnicode_Compare(name, name_writelines) == 0;
}

static PyObject *stream_getattro(PyObject *self, PyObject *name) {
        Stream *s = (Stream *)self;

        PyObject *original, *value;

        if (stream_client(s) != NULL || s->original == Py_None ||
            (s->kind != STREAM_STDIN && is_write(name)))
                return PyObject_GenericGetAttr(self, name);
        original = take_original(self);
        value = PyObject_GetAttr(original, name);
        Py_DECREF(original);
        return value;
}

static int stream_setattro(PyObject *self, PyObject *name, PyObject *value) {
        PyObject *original;
        int r;

        if (stream_client((Stream *)self) == NULL) {
                original = take_original(self);
                r = PyObject_SetAttr(original, name, value);
                Py_DECREF(original);
                return r;
        }
        PyErr_SetString(PyExc_AttributeError, "a console's streams have no attributes to set");
        return -1;
}

static PyObject *get_encoding(PyObject *self, void *closure) {
        return PyUnicode_FromString("utf-8");
}

static PyObject *get_errors(PyObject *self, void *closure) {
        return PyUnicode_FromString("backslashreplace");
}

static PyObject *get_false(PyObject *self, void *closure) {
        Py_RETURN_FALSE;
}

static PyObject *get_none(PyObject *self, void *closure) {
        Py_RETURN_NONE;
}

static PyObject *get_mode(PyObject *self, void *closure) {
        return PyUnicode_FromString(((Stream *)self)->kind == STREAM_STDIN ? "r" : "w");
}

static PyObject *get_name(PyObject *self, void *closure) {
        static const char *names[] = { "<stdin>", "<stdout>", "<stderr>" };

        return PyUnicode_FromString(names[((Stream *)self)->kind]);
}

static PyObject *get_buffer(PyObject *self, void *closure) {
        Stream *s = (Stream *)self;

        if (s->binary || s->kind == STREAM_STDIN) {
                PyErr_SetString(PyExc_AttributeError, "buffer");
                return NULL;
        }
        if (s->buffer == NULL) {
                s->buffer = stream_new(s->kind);
                if (s->buffer == NULL)
                        return NULL;
                ((Stream *)s->buffer)->binary = true;
        }
        Py_INCREF(s->buffer);
        return s->buffer;
}

static PyMethodDef stream_methods[] = {
        { "write", stream_write, METH_O, NULL },
        { "writelines", stream_writelines, METH_O, NULL },
        { "read", stream_read, METH_VARARGS, NULL },
        { "readline", stream_readline, METH_VARARGS, NULL },
        { "readlines", stream_readlines, METH_VARARGS, NULL },
        { "flush", stream_none, METH_NOARGS, NULL },
        { "close", stream_none, METH_NOARGS, NULL },
        { "isatty", stream_false, METH_NOARGS, NULL },
        { "seekable", stream_false, METH_NOARGS, NULL },
        { "readable", stream_readable, METH_NOARGS, NULL },
        { "writable", stream_writable, METH_NOARGS, NULL },
        { "fileno", stream_unsupported, METH_VARARGS, NULL },
        { "seek", stream_unsupported, METH_VARARGS, NULL },
        { "tell", stream_unsupported, METH_VARARGS, NULL },
        { "truncate", stream_unsupported, METH_VARARGS, NULL },
        { "detach", stream_unsupported, METH_VARARGS, NULL },
        { "reconfigure", stream_unsupported, METH_VARARGS, NULL },
        { "__enter__", stream_enter, METH_NOARGS, NULL },
        { "__exit__", stream_exit, METH_VARARGS, NULL },
        {},
};

static PyGetSetDef stream_getset[] = {
        { "encoding", get_encoding, NULL, NULL, NULL },   { "errors", get_errors, NULL, NULL, NULL },
        { "closed", get_false, NULL, NULL, NULL },        { "line_buffering", get_false, NULL, NULL, NULL },
        { "write_through", get_false, NULL, NULL, NULL }, { "newlines", get_none, NULL, NULL, NULL },
        { "mode", get_mode, NULL, NULL, NULL },           { "name", get_name, NULL, NULL, NULL },
        { "buffer", get_buffer, NULL, NULL, NULL },       {},
};

static PyObject *stream_refuse_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
        PyErr_SetString(PyExc_TypeError, "the agent alone makes its streams");
        return NULL;
}

static PyType_Slot stream_slots[] = {
        { Py_tp_new, (void *)stream_refuse_new },
        { Py_tp_methods, stream_methods },
        { Py_tp_getset, stream_getset },
        { Py_tp_getattro, (void *)stream_getattro },
        { Py_tp_setattro, (void *)stream_setattro },
        { Py_tp_iter, (void *)stream_iter },
        { Py_tp_iternext, (void *)stream_next },
        { Py_tp_repr, (void *)stream_repr },
        {},
};

static PyType_Spec stream_spec = {
        .name = "manhole._agent.Stream",
        .basicsize = sizeof(Stream),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = stream_slots,
};

/* The class of the above that can be referred to weakly, as the usual streams can: before 3.9 only a
 * class made as Python code makes one has that. */
static int make_type(void) {
        PyObject *base, *type = NULL;

        if (stream_type != NULL)
                return 0;
        if (name_write == NULL)
                name_write = PyUnicode_InternFromString("write");
        if (name_writelines == NULL)
                name_writelines = PyUnicode_InternFromString("writelines");
        if (name_write == NULL || name_writelines == NULL)
                return -1;
        base = PyType_FromSpec(&stream_spec);
        if (base != NULL)
                type = PyObject_CallFunction((PyObject *)&PyType_Type, "s(O){s(s)ss}", "Stream", base,
                                             "__slots__", "__weakref__", "__module__", "manhole._agent");
        Py_XDECREF(base);
        stream_type = (PyTypeObject *)type;
        return type == NULL ? -1 : 0;
}

PyObject *stream_new(StreamKind kind) {
        Stream *s;

        if (make_type() < 0)
                return NULL;
        s = (Stream *)PyType_GenericAlloc(stream_type, 0);
        if (s == NULL)
                return NULL;
        s->kind = kind;
        s->original = Py_None;
        Py_INCREF(Py_None);
        return (PyObject *)s;
}

bool stream_check(PyObject *object) {
        return stream_type != NULL && Py_TYPE(object) == stream_type;
}

void stream_set_original(PyObject *stream, PyObject *original) {
        Stream *s = (Stream *)stream;
        PyObject *old = s->original;

        Py_INCREF(original);
        s->original = original;
        Py_DECREF(old);
}

PyObject *stream_original(PyObject *stream) {
        return ((Stream *)stream)->original;
}
