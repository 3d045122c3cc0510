/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/pysocket.h"

#include <unistd.h>

PyObject *pysocket_new_consume(int fd) {
        PyObject *handlers = PyImport_ImportModule("manhole._handlers"), *socket = NULL;

        if (handlers != NULL)
                socket = PyObject_CallMethod(handlers, "make_socket", "i", fd);
        Py_XDECREF(handlers);
        if (socket == NULL)
                close(fd);
        return socket;
}

void pysocket_free(PyObject *socket) {
        PyObject *type, *value, *traceback, *result;

        if (socket == NULL)
                return;
        PyErr_Fetch(&type, &value, &traceback);
        result = PyObject_CallMethod(socket, "close", NULL);
        PyErr_Clear();
        Py_XDECREF(result);
        Py_DECREF(socket);
        PyErr_Restore(type, value, traceback);
}
