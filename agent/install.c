/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/install.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/activation.h"
#include "agent/changed.h"
#include "agent/console.h"
#include "agent/errors.h"
#include "agent/fork.h"
#include "agent/framed.h"
#include "agent/gil.h"
#include "agent/jsonbuf.h"
#include "agent/io.h"
#include "agent/listener.h"
#include "agent/log.h"
#include "agent/mainthread.h"
#include "agent/options.h"
#include "agent/peer.h"
#include "agent/runner.h"
#include "agent/settings.h"
#include "agent/shutdown.h"
#include "agent/signals.h"
#include "agent/stacks.h"
#include "agent/stuck.h"
#include "agent/thread.h"

static struct {
        bool installed;
        bool asked;  /* for a first one, and it was not refused */
        long number; /* of the installation */
        bool ready;  /* what is done once a process is done */
} install;

/* Appends `"name":"text of a sys attribute"`, or null. */
static void describe(JsonBuffer *b, const char *name, PyObject *text, size_t n_max) {
        PyObject *bytes = NULL;

        jsonbuf_raw(b, "\"");
        jsonbuf_raw(b, name);
        jsonbuf_raw(b, "\":");
        if (text != NULL && PyUnicode_Check(text))
                bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
        if (bytes != NULL)
                jsonbuf_string(b, PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes), n_max);
        else
                jsonbuf_raw(b, "null");
        PyErr_Clear();
        Py_XDECREF(bytes);
}

static int describe_interpreter(void) {
        PyObject *implementation = PySys_GetObject("implementation"), *name = NULL;
        const char *version = Py_GetVersion();
        JsonBuffer b = JSON_BUFFER_INIT;
        int r;

        if (implementation != NULL)
                name = PyObject_GetAttrString(implementation, "name");
        jsonbuf_raw(&b, "\"python\":");
        jsonbuf_string(&b, version, strcspn(version, " "), 64);
        jsonbuf_raw(&b, ",");
        describe(&b, "implementation", name, 64);
        jsonbuf_raw(&b, ",");
        describe(&b, "executable", PySys_GetObject("executable"), 8192);
        PyErr_Clear();
        Py_XDECREF(name);

        r = b.failed ? -1 : framed_set_interpreter(b.data);
        jsonbuf_done(&b);
        if (r < 0)
                PyErr_NoMemory();
        return r < 0 ? -1 : 0;
}

static int register_at_exit(void) {
        static PyMethodDef def = { "_at_exit", shutdown_at_exit, METH_NOARGS, NULL };
        PyObject *atexit = PyImport_ImportModule("atexit"), *function = PyCFunction_NewEx(&def, NULL, NULL),
                 *result = NULL;

        if (atexit != NULL && function != NULL)
                result = PyObject_CallMethod(atexit, "register", "O", function);
        Py_XDECREF(function);
        Py_XDECREF(atexit);
        Py_XDECREF(result);
        return result == NULL ? -1 : 0;
}

/* The distribution `manhole` of PyPI puts its files where ours are: whichever came last wins. */
static void warn_of_namesake(PyObject *self) {
        PyObject *file = PyModule_GetFilenameObject(self), *bytes = NULL;
        struct dirent *entry;
        char *folder = NULL;
        DIR *d = NULL;

        if (file != NULL && PyUnicode_FSConverter(file, &bytes))
                folder = strdup(PyBytes_AsString(bytes));
        PyErr_Clear();
        Py_XDECREF(bytes);
        Py_XDECREF(file);

        for (int i = 0; folder != NULL && i < 2; i++) {
                char *slash = strrchr(folder, '/');

                if (slash != NULL)
                        *slash = '\0';
        }
        if (folder != NULL)
                d = opendir(folder);
        while (d != NULL && (entry = readdir(d)) != NULL)
                if (strncmp(entry->d_name, "manhole-", strlen("manhole-")) == 0 &&
                    (strstr(entry->d_name, ".dist-info") != NULL ||
                     strstr(entry->d_name, ".egg-info") != NULL))
                        log_line(
                                "The distribution %s is installed in the same folder as manholed-agent, and "
                                "both provide \"manhole\": uninstall both, then install one.",
                                entry->d_name);
        if (d != NULL)
                closedir(d);
        free(folder);
}

/* What of the installation a child has too. A path that was asked for is the parent's alone. */
static bool reinstalls(const Options *o) {
        return install.installed && o->patch_fork && o->thread && o->socket_path == NULL;
}

/* Child after fork, in the C handler: reinstalls if that was asked for, else nothing is installed any
 * more. The GIL may be anybody's. */
static void after_fork(void) {
        const Options *o = settings_get();

        /* One that waits to be activated waits in the child too. */
        if (!o->thread)
                return;
        install.installed = reinstalls(o) && listener_open_later(o->reinstall_delay, &o->service) == 0;
}

/* The same, once Python runs again: says so. */
static void after_fork_python(void) {
        if (!install.installed)
                return;
        if (settings_get()->thread) {
                log_line("Fork detected. Reinstalling Manhole.");
                log_line("Delaying UDS binding %g seconds ...", settings_get()->reinstall_delay);
        }
        shutdown_register_multiprocessing();
}

/* What is done once a process. */
static int make_ready(void) {
        if (install.ready)
                return 0;
        stuck_setup();
        mainthread_setup();
        runner_set(&console_runner);
        if (gil_setup() < 0 || fork_setup(after_fork, after_fork_python) < 0 || describe_interpreter() < 0 ||
            register_at_exit() < 0)
                return -1;
        install.ready = true;
        return 0;
}

bool install_is_ready(void) {
        return install.ready;
}

/* What else the I/O thread does first. */
static void prepare_without_thread(void) {
        thread_prepare_exit();
        changed_setup();
        peer_prepare();
}

/* The words are python-manhole's, which replaces the functions; here a handler of the C library sees
 * every fork. */
static void log_fork(const Options *o) {
        if (o->activate_on != 0)
                log_line("Not patching os.fork and os.forkpty. Activation is done by signal %d",
                         o->activate_on);
        else if (o->oneshot_on != 0)
                log_line("Not patching os.fork and os.forkpty. Oneshot activation is done by signal %d",
                         o->oneshot_on);
        else if (!o->patch_fork || !o->thread)
                return;
        else if (o->socket_path != NULL)
                log_line("Not patching os.fork and os.forkpty. Using user socket path %s",
                         PyBytes_AsString(o->socket_path));
        else
                log_line("Patched <built-in function fork> and <built-in function forkpty>.");
}

static void uninstall(void) {
        if (!install.installed)
                return;
        install.installed = false;
        listener_close();
}

static bool disabled(void) {
        const char *value = getenv("MANHOLE_DISABLE");

        return value != NULL && strcmp(value, "1") == 0;
}

/* The signal's handler is a method of what install() returns. */
static int replace_signal(const Options *o, PyObject *manhole) {
        bool oneshot = o->oneshot_on != 0;
        PyObject *handler;
        int r;

        if (!oneshot && o->activate_on == 0) {
                signals_restore();
                return 0;
        }
        handler = PyObject_GetAttrString(manhole, oneshot ? "handle_oneshot" : "activate_on_signal");
        if (handler == NULL)
                return -1;
        r = signals_replace(oneshot ? "oneshot_on" : "activate_on", oneshot ? o->oneshot_on : o->activate_on,
                            handler);
        Py_DECREF(handler);
        return r;
}

PyObject *install_install(PyObject *self, PyObject *args) {
        bool first = !install.ready;
        PyObject *kwargs, *manhole;
        Options o, old;
        long number;

        if (!PyArg_ParseTuple(args, "OO", &kwargs, &manhole))
                return NULL;
        if (!PyDict_Check(kwargs))
                return PyErr_Format(PyExc_TypeError, "options: a dict is wanted");
        if (options_parse(kwargs, &o) < 0)
                return NULL;
        install.asked = true;
        if (disabled()) {
                options_done(&o);
                return PyLong_FromLong(0);
        }
        if (make_ready() < 0) {
                options_done(&o);
                return NULL;
        }
        shutdown_wrap();
        if (install.installed && o.strict) {
                options_done(&o);
                PyErr_SetString(errors_get(ERROR_ALREADY_INSTALLED), "Manhole already installed!");
                return NULL;
        }
        if (replace_signal(&o, manhole) < 0) {
                options_done(&o);
                return NULL;
        }

        /* From here until the socket is open no Python code runs, not even a destructor: what another
         * thread installs comes before or after. */
        uninstall();
        old = settings_replace(&o);
        install.installed = true;
        number = ++install.number;
        thread_block(o.blocked);
        log_configure(o.verbose, o.verbose_fd, o.verbose_object);
        if (first && o.verbose)
                warn_of_namesake(self);
        log_fork(&o);
        /* The application wins: without a socket it runs on, and the log says why. */
        if (!o.thread ||
            listener_open(o.socket_path != NULL ? PyBytes_AsString(o.socket_path) : NULL, &o.service) < 0)
                prepare_without_thread();

        options_done(&old);
        log_flush();
        return PyLong_FromLong(number);
}

PyObject *install_release(PyObject *self, PyObject *number) {
        long n = PyLong_AsLong(number);

        if (PyErr_Occurred())
                return NULL;
        if (n == install.number) {
                uninstall();
                signals_restore();
        }
        Py_RETURN_NONE;
}

static bool is_current(long number) {
        return install.installed && number == install.number;
}

PyObject *install_activate(PyObject *self, PyObject *number) {
        long n = PyLong_AsLong(number);

        if (PyErr_Occurred())
                return NULL;
        if (is_current(n))
                (void)activation_open();
        Py_RETURN_NONE;
}

PyObject *install_oneshot(PyObject *self, PyObject *number) {
        long n = PyLong_AsLong(number);

        if (PyErr_Occurred())
                return NULL;
        if (!is_current(n))
                log_line("Oneshot failure: this manhole was released.");
        else if (activation_oneshot(n, is_current) < 0)
                return NULL;
        Py_RETURN_NONE;
}

PyObject *install_dump(PyObject *self, PyObject *args, PyObject *kwargs) {
        static char name[] = "locals", *names[] = { name, NULL };
        PyObject *text, *stream;
        int locals = false, r = 0;

        if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|p:dump_stacktraces", names, &locals))
                return NULL;
        text = stacks_format(locals);
        if (text == NULL)
                return NULL;
        stream = PySys_GetObject(settings_get()->redirect_stderr ? "stderr" : "stdout");
        if (stream != NULL && stream != Py_None) {
                /* While it is written to, somebody may put another one in its place. */
                Py_INCREF(stream);
                r = PyFile_WriteObject(text, stream, Py_PRINT_RAW);
                Py_DECREF(stream);
        }
        Py_DECREF(text);
        if (r < 0)
                return NULL;
        Py_RETURN_NONE;
}

PyObject *install_locals(PyObject *self, PyObject *args) {
        PyObject *locals = settings_get()->locals;

        if (locals == NULL)
                return PyDict_New();
        Py_INCREF(locals);
        return locals;
}

PyObject *install_listener_thread(PyObject *self, PyObject *args) {
        PyThreadState *gil = PyEval_SaveThread();
        unsigned long id;
        pid_t native_id;
        bool alive;

        alive = io_thread(&id, &native_id);
        PyEval_RestoreThread(gil);
        if (!alive)
                Py_RETURN_NONE;
        return Py_BuildValue("(kl)", id, (long)native_id);
}

PyObject *install_log(PyObject *self, PyObject *text) {
        PyObject *bytes;

        if (!install.asked)
                return PyErr_Format(errors_get(ERROR_NOT_INSTALLED), "Manhole is not installed!");
        bytes = PyUnicode_AsEncodedString(text, "ascii", "ignore");
        if (bytes == NULL)
                return NULL;
        log_line("%s", PyBytes_AsString(bytes));
        Py_DECREF(bytes);
        Py_RETURN_NONE;
}
