/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The extension module manhole._agent: names, nothing else. The package manhole is its face.
 *
 * There is one agent a process: the module keeps its state in the process, not in the interpreter.
 */
#include <Python.h>

#include "agent/credentials.h"
#include "agent/direct.h"
#include "agent/errors.h"
#include "agent/hooks.h"
#include "agent/install.h"

static PyMethodDef methods[] = {
        { "install", install_install, METH_VARARGS,
          "install(options, manhole) -> number\n\nSee manhole.install()." },
        { "release", install_release, METH_O, "release(number)\n\nUndoes that installation." },
        { "dump_stacktraces", (PyCFunction)(void (*)(void))install_dump, METH_VARARGS | METH_KEYWORDS,
          "dump_stacktraces(locals=False)\n\nPrints every thread's stack to stderr." },
        { "activate", install_activate, METH_O, "activate(number)\n\nOpens that installation's socket." },
        { "oneshot", install_oneshot, METH_O, "oneshot(number)\n\nServes one client in this thread." },
        { "locals", install_locals, METH_NOARGS, "locals() -> dict\n\nThe option." },
        { "listener_thread", install_listener_thread, METH_NOARGS,
          "listener_thread() -> (ident, native id) or None" },
        { "log", install_log, METH_O, "log(text)\n\nWrites a line as the agent's own." },
        { "notice", hooks_notice, METH_VARARGS,
          "notice(name, value)\n\nThe package's attribute has changed." },
        { "get_peercred", credentials_get_peercred, METH_O,
          "get_peercred(sock) -> (pid, uid, gid)\n\nWho is at the other end of a connected socket." },
        { "check_credentials", credentials_check, METH_O,
          "check_credentials(client) -> (pid, uid, gid)\n\nRaises SuspiciousClient for anybody but our own "
          "user and root." },
        { "handle_connection_repl", direct_handle_connection_repl, METH_O,
          "handle_connection_repl(client)\n\nA console on a socket, with stacks and banner; closes it." },
        { "handle_connection_exec", direct_handle_connection_exec, METH_O,
          "handle_connection_exec(client)\n\nRuns the lines that come, without redirection; closes it." },
        { "handle_repl", direct_handle_repl, METH_O,
          "handle_repl(locals)\n\nStacks and an interactive prompt on the standard streams." },
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

        if (module != NULL && (errors_setup(module) < 0 || hooks_setup(module) < 0))
                Py_CLEAR(module);
        return module;
}
