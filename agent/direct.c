/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/direct.h"

#include <errno.h>
#include <fcntl.h>

#include "agent/console.h"
#include "agent/errors.h"
#include "agent/install.h"
#include "agent/listener.h"
#include "agent/overdue.h"
#include "agent/pysocket.h"

/* Has the I/O thread serve another descriptor of the connection: NULL with an exception set. */
static Session *adopt(PyObject *socket) {
        int fd = PyObject_AsFileDescriptor(socket), r;
        Session *s = NULL;
        Peer peer = {};

        if (fd < 0)
                return NULL;
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return (Session *)PyErr_SetFromErrno(PyExc_OSError);
        (void)peer_read(fd, &peer);
        s = session_new_consume(fd, &peer, false);
        if (s == NULL)
                return (Session *)PyErr_NoMemory();

        s->run = SESSION_RUNS_CONSOLE;
        s->open_banner = true;
        s->stays = true;
        overdue_begin(&s->opened, false, false);
        r = listener_adopt(s);
        if (r < 0) {
                errno = -r;
                PyErr_SetFromErrno(PyExc_OSError);
                return session_unref(s);
        }
        return s;
}

/* True with an exception set. With MANHOLE_DISABLE there is no installation either. */
static bool refuse_uninstalled(void) {
        if (install_is_ready())
                return false;
        PyErr_SetString(errors_get(ERROR_NOT_INSTALLED), "Manhole is not installed!");
        return true;
}

PyObject *direct_handle_connection_repl(PyObject *self, PyObject *socket) {
        Session *s;
        bool left;
        int r;

        if (refuse_uninstalled())
                return NULL;
        s = adopt(socket);
        if (s == NULL)
                return NULL;
        r = console_serve(s, &left);
        session_unref(s);
        Py_INCREF(socket);
        pysocket_free(socket);
        if (r < 0)
                return NULL;
        Py_RETURN_NONE;
}

static PyObject *call_package(const char *name, PyObject *argument) {
        PyObject *handlers = PyImport_ImportModule("manhole._handlers"), *result = NULL;

        if (handlers != NULL)
                result = PyObject_CallMethod(handlers, name, "(O)", argument);
        Py_XDECREF(handlers);
        return result;
}

PyObject *direct_handle_connection_exec(PyObject *self, PyObject *socket) {
        return refuse_uninstalled() ? NULL : call_package("handle_connection_exec", socket);
}

PyObject *direct_handle_repl(PyObject *self, PyObject *locals) {
        return call_package("handle_repl", locals);
}
