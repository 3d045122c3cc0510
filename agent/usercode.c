/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/usercode.h"

#include "agent/await.h"
#include "agent/thread.h"

/*
 * CPython notes a KeyboardInterrupt that leaves an exec() or eval() of a string, whoever catches it
 * later, and ends the process by SIGINT for it. It forgets that with the next such evaluation: the
 * interrupt of a console must not change how the application ends.
 */
static void forget_interrupt(void) {
        PyObject *type, *value, *traceback, *eval, *result = NULL;

        PyErr_Fetch(&type, &value, &traceback);
        eval = PyDict_GetItemString(PyEval_GetBuiltins(), "eval"); /* borrowed */
        if (eval != NULL)
                result = PyObject_CallFunction(eval, "s{}", "None");
        Py_XDECREF(result);
        PyErr_Restore(type, value, traceback);
}

/* @code, or else @function. */
static PyObject *run(Client *c, PyObject *code, PyObject *function) {
        PyObject *result;
        sigset_t mask;

        if (client_begin_code(c) != 0) {
                PyErr_SetNone(PyExc_KeyboardInterrupt);
                return NULL;
        }
        thread_mask_as_main(&mask);
        result = code != NULL ? PyEval_EvalCode(code, c->globals, c->globals)
                              : PyObject_CallFunctionObjArgs(function, c->globals, NULL);
        if (result != NULL && result != Py_None && code != NULL && await_is_wanted(code))
                result = await_consume(c, result);
        thread_mask_restore(&mask);
        client_end_code(c);
        if (result == NULL && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
                forget_interrupt();
        return result;
}

PyObject *usercode_run(Client *c, PyObject *code) {
        return run(c, code, NULL);
}

PyObject *usercode_call(Client *c, PyObject *function) {
        return run(c, NULL, function);
}
