/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/hooks.h"

#include <stdatomic.h>

static const char *const names[_HOOK_MAX] = {
        [HOOK_CHECK_CREDENTIALS] = "check_credentials",
        [HOOK_GET_PEERCRED] = "get_peercred",
        [HOOK_HANDLE_CONNECTION_REPL] = "handle_connection_repl",
        [HOOK_HANDLE_CONNECTION_EXEC] = "handle_connection_exec",
        [HOOK_HANDLE_REPL] = "handle_repl",
};

static PyObject *own[_HOOK_MAX]; /* owned for good */
static atomic_bool replaced[_HOOK_MAX];

int hooks_setup(PyObject *module) {
        for (size_t i = 0; i < _HOOK_MAX; i++) {
                own[i] = PyObject_GetAttrString(module, names[i]);
                if (own[i] == NULL)
                        return -1;
        }
        return 0;
}

PyObject *hooks_notice(PyObject *self, PyObject *args) {
        PyObject *name, *value;

        if (!PyArg_ParseTuple(args, "UO", &name, &value))
                return NULL;
        for (size_t i = 0; i < _HOOK_MAX; i++)
                if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0)
                        atomic_store(&replaced[i], value != own[i]);
        Py_RETURN_NONE;
}

bool hooks_replaced(Hook hook) {
        return atomic_load(&replaced[hook]);
}

PyObject *hooks_get(Hook hook) {
        PyObject *module = PyImport_ImportModule("manhole"), *function = NULL;

        if (module != NULL)
                function = PyObject_GetAttrString(module, names[hook]);
        Py_XDECREF(module);
        return function;
}
