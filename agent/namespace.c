/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/namespace.h"

#include "agent/settings.h"

/* Of the package, which may have been reloaded. New reference. */
static PyObject *get_dump_stacktraces(void) {
        PyObject *module = PyImport_ImportModule("manhole"), *function = NULL;

        if (module != NULL)
                function = PyObject_GetAttrString(module, "dump_stacktraces");
        Py_XDECREF(module);
        return function;
}

PyObject *namespace_new(void) {
        static const char *const modules[] = { "os", "socket", "sys", "traceback" };
        PyObject *globals = PyDict_New(), *dump = get_dump_stacktraces(), *locals = settings_get()->locals;
        int r = globals == NULL || dump == NULL ? -1 : 0;

        /* While modules are imported, another thread may install anew. */
        Py_XINCREF(locals);
        if (r == 0)
                r = PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins());
        if (r == 0)
                r = PyDict_SetItemString(globals, "dump_stacktraces", dump);
        for (size_t i = 0; r == 0 && i < sizeof(modules) / sizeof(modules[0]); i++) {
                PyObject *module = PyImport_ImportModule(modules[i]);

                if (module == NULL)
                        PyErr_Clear();
                else
                        r = PyDict_SetItemString(globals, modules[i], module);
                Py_XDECREF(module);
        }
        if (r == 0 && locals != NULL)
                r = PyDict_Update(globals, locals);
        Py_XDECREF(locals);
        Py_XDECREF(dump);
        if (r < 0)
                Py_CLEAR(globals);
        return globals;
}
