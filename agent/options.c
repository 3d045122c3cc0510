/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/errors.h"
#include "agent/signals.h"

typedef int (*OptionParse)(Options *o, const char *name, PyObject *value);

static int refuse(PyObject *exception, const char *name, const char *what) {
        PyErr_Format(exception, "%s: %s", name, what);
        return -1;
}

static int parse_bool(const char *name, PyObject *value, bool *ret) {
        int r = PyObject_IsTrue(value);

        if (r < 0)
                return -1;
        *ret = r;
        return 0;
}

static int parse_verbose(Options *o, const char *name, PyObject *value) {
        return parse_bool(name, value, &o->verbose);
}

static int parse_strict(Options *o, const char *name, PyObject *value) {
        return parse_bool(name, value, &o->strict);
}

static int parse_redirect_stderr(Options *o, const char *name, PyObject *value) {
        return parse_bool(name, value, &o->redirect_stderr);
}

static int parse_thread(Options *o, const char *name, PyObject *value) {
        return parse_bool(name, value, &o->thread);
}

static int parse_daemon_connection(Options *o, const char *name, PyObject *value) {
        return parse_bool(name, value, &o->service.daemon_connection);
}

static int parse_patch_fork(Options *o, const char *name, PyObject *value) {
        if (value == Py_None)
                return 0;
        return parse_bool(name, value, &o->patch_fork);
}

static int parse_verbose_destination(Options *o, const char *name, PyObject *value) {
        if (PyLong_Check(value)) {
                long fd = PyLong_AsLong(value);

                if (fd < 0 || fd > INT_MAX) {
                        PyErr_Clear();
                        return refuse(PyExc_ValueError, name, "not a file descriptor");
                }
                o->verbose_fd = (int)fd;
                return 0;
        }
        if (!PyObject_HasAttrString(value, "write"))
                return refuse(PyExc_TypeError, name, "a file descriptor or a file object is wanted");
        Py_INCREF(value);
        o->verbose_object = value;
        return 0;
}

static int parse_socket_path(Options *o, const char *name, PyObject *value) {
        PyObject *bytes;

        if (value == Py_None)
                return 0;
        if (!PyUnicode_FSConverter(value, &bytes)) {
                PyErr_Clear();
                return refuse(PyExc_TypeError, name, "a path without NUL is wanted");
        }
        if (PyBytes_Size(bytes) == 0 ||
            (size_t)PyBytes_Size(bytes) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
                Py_DECREF(bytes);
                return refuse(PyExc_ValueError, name, "a Unix socket's path has 1 to 107 bytes");
        }
        o->socket_path = bytes;
        return 0;
}

static int parse_locals(Options *o, const char *name, PyObject *value) {
        if (value == Py_None)
                return 0;
        if (!PyDict_Check(value))
                return refuse(PyExc_TypeError, name, "a dict is wanted");
        Py_INCREF(value);
        o->locals = value;
        return 0;
}

static int parse_seconds(const char *name, PyObject *value, double *ret) {
        double seconds = PyFloat_AsDouble(value);

        if (PyErr_Occurred()) {
                PyErr_Clear();
                return refuse(PyExc_TypeError, name, "a number of seconds is wanted");
        }
        if (!(seconds >= 0 && seconds <= 1e6))
                return refuse(PyExc_ValueError, name, "not a sensible number of seconds");
        *ret = seconds;
        return 0;
}

static int parse_reinstall_delay(Options *o, const char *name, PyObject *value) {
        return parse_seconds(name, value, &o->reinstall_delay);
}

/* install() returns when the socket listens: there is no start to wait for, and nothing to store. */
static int parse_start_timeout(Options *o, const char *name, PyObject *value) {
        double seconds;

        return parse_seconds(name, value, &seconds);
}

static int parse_signal(const char *name, PyObject *value, int *ret) {
        int number = 0;

        if (value != Py_None) {
                number = signals_parse(name, value);
                if (number == 0)
                        return -1;
        }
        *ret = number;
        return 0;
}

static int parse_activate_on(Options *o, const char *name, PyObject *value) {
        return parse_signal(name, value, &o->activate_on);
}

static int parse_oneshot_on(Options *o, const char *name, PyObject *value) {
        return parse_signal(name, value, &o->oneshot_on);
}

static int parse_sigmask(Options *o, const char *name, PyObject *value) {
        PyObject *iterator, *item;
        uint64_t blocked = 0;
        bool good = true;

        if (value == Py_None)
                return 0;
        /* A str would be taken for a list of one-letter names. */
        iterator = PyUnicode_Check(value) ? NULL : PyObject_GetIter(value);
        if (iterator == NULL) {
                PyErr_Clear();
                return refuse(PyExc_TypeError, name, "a list of signals' numbers or names is wanted");
        }
        while (good && (item = PyIter_Next(iterator)) != NULL) {
                int number = signals_parse(name, item);

                Py_DECREF(item);
                good = number > 0;
                if (good)
                        blocked |= UINT64_C(1) << (number - 1);
        }
        Py_DECREF(iterator);
        if (PyErr_Occurred())
                return -1;
        o->blocked = blocked;
        return 0;
}

static int parse_connection_handler(Options *o, const char *name, PyObject *value) {
        if (PyUnicode_Check(value)) {
                if (PyUnicode_CompareWithASCIIString(value, "repl") == 0)
                        return 0;
                if (PyUnicode_CompareWithASCIIString(value, "exec") != 0)
                        return refuse(PyExc_ValueError, name, "\"repl\", \"exec\" or a function is wanted");
                o->exec_lines = true;
        } else if (PyCallable_Check(value)) {
                Py_INCREF(value);
                o->connection_handler = value;
        } else
                return refuse(PyExc_TypeError, name, "\"repl\", \"exec\" or a function is wanted");
        o->service.function = true;
        return 0;
}

static int parse_accept(Options *o, const char *name, PyObject *value) {
        if (value == Py_None)
                return 0;
        if (!PyUnicode_Check(value))
                return refuse(PyExc_TypeError, name, "\"user\" or \"root\" is wanted");
        if (PyUnicode_CompareWithASCIIString(value, "root") == 0)
                o->service.root_only = true;
        else if (PyUnicode_CompareWithASCIIString(value, "user") != 0)
                return refuse(PyExc_ValueError, name, "\"user\" or \"root\" is wanted");
        return 0;
}

/* The environment can only be stricter, and what it does not say clearly is strict. */
static bool environment_is_strict(void) {
        const char *value = getenv("MANHOLE_ACCEPT");

        return value != NULL && value[0] != '\0' && strcmp(value, "user") != 0;
}

static const struct {
        const char *name;
        OptionParse parse;
} option_table[] = {
        { "verbose", parse_verbose },
        { "verbose_destination", parse_verbose_destination },
        { "strict", parse_strict },
        { "patch_fork", parse_patch_fork },
        { "activate_on", parse_activate_on },
        { "oneshot_on", parse_oneshot_on },
        { "thread", parse_thread },
        { "sigmask", parse_sigmask },
        { "socket_path", parse_socket_path },
        { "reinstall_delay", parse_reinstall_delay },
        { "locals", parse_locals },
        { "daemon_connection", parse_daemon_connection },
        { "redirect_stderr", parse_redirect_stderr },
        { "connection_handler", parse_connection_handler },
        { "start_timeout", parse_start_timeout },
        { "accept", parse_accept },
};

static int parse_one(Options *o, PyObject *key, PyObject *value) {
        for (size_t i = 0; i < sizeof(option_table) / sizeof(option_table[0]); i++)
                if (PyUnicode_Check(key) && PyUnicode_CompareWithASCIIString(key, option_table[i].name) == 0)
                        return option_table[i].parse(o, option_table[i].name, value);
        PyErr_Format(PyExc_TypeError, "install() got an unexpected option %R", key);
        return -1;
}

/* What follows from all of them together. */
static int complete(Options *o) {
        if (o->activate_on != 0 && o->oneshot_on != 0) {
                PyErr_SetString(errors_get(ERROR_CONFIGURATION_CONFLICT),
                                "activate_on and oneshot_on exclude each other");
                return -1;
        }
        if (o->activate_on != 0 || o->oneshot_on != 0)
                o->thread = false;
        o->service.root_only |= environment_is_strict();
        if (o->locals == NULL)
                o->locals = PyDict_New();
        return o->locals == NULL ? -1 : 0;
}

int options_parse(PyObject *kwargs, Options *ret) {
        Options o = {
                .verbose = true,
                .verbose_fd = STDERR_FILENO,
                .strict = true,
                .patch_fork = true,
                .reinstall_delay = 0.5,
                .redirect_stderr = true,
                .thread = true,
                .blocked = UINT64_MAX,
        };
        PyObject *key, *value;
        Py_ssize_t position = 0;

        while (PyDict_Next(kwargs, &position, &key, &value))
                if (parse_one(&o, key, value) < 0) {
                        options_done(&o);
                        return -1;
                }
        if (complete(&o) < 0) {
                options_done(&o);
                return -1;
        }
        *ret = o;
        return 0;
}

void options_done(Options *o) {
        Py_CLEAR(o->verbose_object);
        Py_CLEAR(o->socket_path);
        Py_CLEAR(o->locals);
        Py_CLEAR(o->connection_handler);
}
