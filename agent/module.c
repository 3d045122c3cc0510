/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The extension module manhole._agent: names, nothing else. The package manhole is its face.
 *
 * There is one agent a process: the module keeps its state in the process, not in the interpreter.
 */
#include <Python.h>

#include "agent/install.h"

static PyMethodDef methods[] = {
        { "install", install_install, METH_O, "install(options) -> number\n\nSee manhole.install()." },
        { "release", install_release, METH_O, "release(number)\n\nUndoes that installation." },
        { "dump_stacktraces", install_dump, METH_NOARGS, "Prints every thread's stack to stderr." },
        {},
};

static struct PyModuleDef definition = {
        .m_base = PyModuleDef_HEAD_INIT,
        .m_name = "manhole._agent",
        .m_doc = "The native part of the agent.",
        .m_size = -1,
        .m_methods = methods,
};

/* 3.8's PyMODINIT_FUNC does not say that the one symbol is to be seen. */
#pragma GCC visibility push(default)
PyMODINIT_FUNC PyInit__agent(void);
#pragma GCC visibility pop

PyMODINIT_FUNC PyInit__agent(void) {
        PyObject *module = PyModule_Create(&definition);

        if (module != NULL && install_setup(module) < 0)
                Py_CLEAR(module);
        return module;
}
