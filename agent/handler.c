/* SPDX-License-Identifier: BSD-2-Clause */
#include <Python.h>

#include <errno.h>

#include "agent/handler.h"
#include "agent/hooks.h"
#include "agent/log.h"
#include "agent/pysocket.h"
#include "agent/settings.h"
#include "agent/thread.h"

bool handler_replaced(void) {
        return hooks_replaced(HOOK_HANDLE_CONNECTION_REPL);
}

/* New reference, or NULL with an exception set. */
static PyObject *get_function(void) {
        const Options *o = settings_get();

        if (o->connection_handler == NULL)
                return hooks_get(o->exec_lines ? HOOK_HANDLE_CONNECTION_EXEC : HOOK_HANDLE_CONNECTION_REPL);
        Py_INCREF(o->connection_handler);
        return o->connection_handler;
}

void handler_run(Session *s) {
        PyObject *function = get_function(), *socket = NULL, *result = NULL;
        int fd = session_take(s);
        sigset_t mask;

        if (fd >= 0)
                socket = pysocket_new_consume(fd);
        if (socket != NULL && function != NULL) {
                thread_mask_as_main(&mask);
                result = PyObject_CallFunctionObjArgs(function, socket, NULL);
                thread_mask_restore(&mask);
        }
        if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_SystemExit))
                PyErr_Clear();
        else if (PyErr_Occurred())
                log_raised("ManholeConnectionThread failure");
        Py_XDECREF(result);
        pysocket_free(socket);
        Py_XDECREF(function);
}
