/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/credentials.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "agent/consoles.h"
#include "agent/errors.h"
#include "agent/gil.h"
#include "agent/hooks.h"
#include "agent/log.h"
#include "agent/peer.h"
#include "agent/pysocket.h"
#include "agent/settings.h"
#include "agent/shutdown.h"
#include "agent/thread.h"

PyObject *credentials_get_peercred(PyObject *self, PyObject *socket) {
        int fd = PyObject_AsFileDescriptor(socket), r;
        Peer peer;

        if (fd < 0)
                return NULL;
        r = peer_read(fd, &peer);
        if (r < 0) {
                errno = -r;
                return PyErr_SetFromErrno(PyExc_OSError);
        }
        return Py_BuildValue("(lkk)", (long)peer.pid, (unsigned long)peer.uid, (unsigned long)peer.gid);
}

/* GIL held. Raises SuspiciousClient. */
static void refuse(PyObject *pid, PyObject *uid, PyObject *gid) {
        PyErr_Format(errors_get(ERROR_SUSPICIOUS_CLIENT),
                     settings_get()->service.root_only
                             ? "Can't accept client with PID:%S UID:%S GID:%S. It doesn't match ROOT."
                             : "Can't accept client with PID:%S UID:%S GID:%S. It doesn't match the current "
                               "EUID:%lu or ROOT.",
                     pid, uid, gid, (unsigned long)geteuid());
}

/* Checks (pid, uid, gid), and takes them over. Anything that is no number is nobody's uid. */
static PyObject *check_consume(PyObject *credentials) {
        PyObject *tuple = credentials == NULL ? NULL : PySequence_Tuple(credentials), *pid, *uid, *gid;
        Peer peer = { .uid = (uid_t)-1 };
        long number = -1;

        Py_XDECREF(credentials);
        if (tuple == NULL)
                return NULL;
        if (!PyArg_ParseTuple(tuple, "OOO", &pid, &uid, &gid)) {
                Py_DECREF(tuple);
                return NULL;
        }
        if (PyLong_Check(uid))
                number = PyLong_AsLong(uid);
        if (number >= 0 && number < (uid_t)-1)
                peer.uid = (uid_t)number;
        if (PyErr_Occurred() || !peer_allowed(&peer, settings_get()->service.root_only)) {
                PyErr_Clear();
                refuse(pid, uid, gid);
                Py_CLEAR(tuple);
        }
        return tuple;
}

PyObject *credentials_check(PyObject *self, PyObject *socket) {
        PyObject *credentials = check_consume(credentials_get_peercred(self, socket)), *function,
                 *said = NULL;

        if (credentials == NULL || !hooks_replaced(HOOK_GET_PEERCRED))
                return credentials;
        Py_DECREF(credentials);
        function = hooks_get(HOOK_GET_PEERCRED);
        if (function != NULL)
                said = PyObject_CallFunctionObjArgs(function, socket, NULL);
        Py_XDECREF(function);
        return check_consume(said);
}

bool credentials_replaced(void) {
        return hooks_replaced(HOOK_GET_PEERCRED) || hooks_replaced(HOOK_CHECK_CREDENTIALS);
}

/* GIL held. */
static bool application_allows(Session *s) {
        int fd = session_duplicate_fd(s);
        PyObject *socket = fd < 0 ? NULL : pysocket_new_consume(fd), *function = NULL, *result = NULL;
        bool allowed;

        if (socket != NULL)
                function = hooks_get(HOOK_CHECK_CREDENTIALS);
        if (function != NULL) {
                sigset_t native;

                thread_mask_as_main(&native);
                result = PyObject_CallFunctionObjArgs(function, socket, NULL);
                thread_mask_restore(&native);
        }
        allowed = result != NULL;
        if (PyErr_Occurred()) {
                log_line("Started ManholeConnectionThread thread. Checking credentials ...");
                log_raised(NULL);
        }
        Py_XDECREF(result);
        Py_XDECREF(function);
        pysocket_free(socket);
        return allowed;
}

static void *ask_main(void *arg) {
        Session *s = arg;
        PyThreadState *state;
        bool allowed = false;

        thread_set_name("Manhole check");
        if (gil_take(&state)) {
                allowed = application_allows(s);
                shutdown_forget_thread();
                gil_give(state);
        }
        session_judge(s, allowed);
        consoles_end(s);
        session_unref(s);
        return NULL;
}

int credentials_ask(Session *s) {
        int r;

        if (!consoles_begin(s))
                return -EAGAIN;
        session_ref(s);
        r = thread_start(ask_main, s, 0);
        if (r < 0) {
                consoles_end(s);
                session_unref(s);
        }
        return r;
}
