/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/repl.h"

#include "agent/await.h"
#include "agent/bare.h"
#include "agent/compile.h"
#include "agent/evaluate.h"
#include "agent/history.h"
#include "agent/hooks.h"
#include "agent/overdue.h"
#include "agent/stacks.h"
#include "agent/usercode.h"

#define PROMPT ">>> "
#define PROMPT_MORE "... "

/* With the GIL, unless that came too late or nobody wants them. */
static void say_stacks(Client *c) {
        PyObject *text;

        if (!overdue_waits(c->session, &c->session->opened)) {
                client_settle_stacks(c);
                return;
        }
        text = stacks_format(false);
        if (client_settle_stacks(c)) {
                PyErr_Clear();
                if (text != NULL)
                        client_say(c, text);
                else
                        client_say_text(c, "(the stacks cannot be shown)\n");
        }
        PyErr_Clear();
        Py_XDECREF(text);
}

static void say_banner(Client *c) {
        PyObject *text = PyUnicode_FromFormat(
                "Python %s on %s\nType \"help\", \"copyright\", \"credits\" or \"license\" for more "
                "information.\n(ManholeConsole)\n",
                Py_GetVersion(), Py_GetPlatform());

        if (text != NULL)
                client_say(c, text);
        else
                PyErr_Clear();
        Py_XDECREF(text);
}

/* Compiles what was typed so far. Py_None: there is more to come. */
static PyObject *compile_lines(PyObject *compiler, PyObject *lines) {
        PyObject *newline = PyUnicode_FromString("\n"), *source = NULL, *code = NULL;

        if (newline != NULL)
                source = PyUnicode_Join(newline, lines);
        if (source != NULL)
                code = compile_typed(compiler, source, "<console>");
        if (code == NULL && source != NULL && await_is_possible())
                code = await_compile_line(compiler, source, "<console>");
        Py_XDECREF(source);
        Py_XDECREF(newline);
        return code;
}

static void forget_lines(PyObject *lines) {
        if (PyList_SetSlice(lines, 0, PyList_Size(lines), NULL) < 0)
                PyErr_Clear();
}

/* A statement is complete, or will never be: then it was typed all the same. Keeps the exception that is
 * set. */
static void remember_lines(PyObject *lines) {
        PyObject *newline, *text = NULL, *bytes = NULL, *type, *value, *traceback;

        PyErr_Fetch(&type, &value, &traceback);
        newline = PyUnicode_FromString("\n");
        if (newline != NULL)
                text = PyUnicode_Join(newline, lines);
        if (text != NULL)
                bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
        if (bytes != NULL) {
                const char *typed = PyBytes_AsString(bytes);
                size_t n = (size_t)PyBytes_Size(bytes);

                while (n > 0 && typed[n - 1] == '\n') /* the empty line that ends a block */
                        n--;
                history_add(typed, n);
        }
        Py_XDECREF(bytes);
        Py_XDECREF(text);
        Py_XDECREF(newline);
        PyErr_Restore(type, value, traceback);
}

/* Acts on one line. Returns whether more lines belong to it; @ret_exit: the console is over. */
static bool push_line(Client *c, PyObject *lines, PyObject *line, bool *ret_exit) {
        PyObject *code = NULL, *result;
        bool more;

        if (PyList_Append(lines, line) == 0)
                code = compile_lines(c->compiler, lines);
        if (code != Py_None)
                remember_lines(lines);
        if (code == NULL) {
                evaluate_say_exception(c, false);
                forget_lines(lines);
                return false;
        }
        more = code == Py_None;
        if (!more) {
                forget_lines(lines);
                result = usercode_run(c, code);
                if (result == NULL && PyErr_ExceptionMatches(PyExc_SystemExit)) {
                        PyErr_Clear();
                        *ret_exit = true;
                } else if (result == NULL)
                        evaluate_say_exception(c, true);
                Py_XDECREF(result);
        }
        Py_DECREF(code);
        return more;
}

/* A line without its newline. Consumes @line; NULL with an exception set. */
static PyObject *strip_newline_consume(PyObject *line) {
        Py_ssize_t n = PyUnicode_GetLength(line);
        PyObject *stripped;

        if (n == 0 || PyUnicode_ReadChar(line, n - 1) != '\n')
                return line;
        stripped = PyUnicode_Substring(line, 0, n - 1);
        Py_DECREF(line);
        return stripped;
}

/* Reads and runs lines until there are none. Returns the reason of the end. */
static const char *run_lines(Client *c, PyObject *lines) {
        bool more = false, leave = false;

        while (!leave) {
                PyObject *line;

                Py_CLEAR(c->leftover);
                line = client_read_line(c, more ? PROMPT_MORE : PROMPT);
                if (line != NULL && PyUnicode_GetLength(line) == 0) {
                        Py_DECREF(line);
                        client_say_text(c, "\nnow exiting ManholeConsole...\n");
                        return "eof";
                }
                if (line == NULL && c->signalled)
                        return "stopping";
                if (line != NULL)
                        line = strip_newline_consume(line);
                if (line == NULL) {
                        PyErr_Clear();
                        client_say_text(c, "\nKeyboardInterrupt\n");
                        forget_lines(lines);
                        more = false;
                        continue;
                }
                more = push_line(c, lines, line, &leave);
                Py_DECREF(line);
        }
        return "exit";
}

void repl_go_on(Client *c, JsonBuffer *ret_end) {
        PyObject *lines = PyList_New(0);
        const char *reason = "exit";

        if (lines != NULL)
                reason = run_lines(c, lines);
        else
                evaluate_say_exception(c, true);
        Py_XDECREF(lines);
        jsonbuf_raw(ret_end, "{\"reason\":\"");
        jsonbuf_raw(ret_end, reason);
        jsonbuf_raw(ret_end, "\"}");
}

static PyObject *make_compiler(void) {
        PyObject *codeop = PyImport_ImportModule("codeop"), *compiler = NULL;

        if (codeop != NULL)
                compiler = PyObject_CallMethod(codeop, "CommandCompiler", NULL);
        Py_XDECREF(codeop);
        if (compiler == NULL) {
                PyErr_Clear();
                compiler = bare_compiler();
        }
        return compiler;
}

static void begin(Client *c, JsonBuffer *ret_end) {
        c->compiler = make_compiler();
        if (c->compiler != NULL) {
                say_stacks(c);
                if (c->session->open_banner)
                        say_banner(c);
                repl_go_on(c, ret_end);
        } else
                evaluate_say_exception(c, true);
}

/* The application has a prompt of its own. */
static void call_replaced(Client *c, JsonBuffer *ret_end) {
        PyObject *function = hooks_get(HOOK_HANDLE_REPL), *result = NULL;

        (void)client_settle_stacks(c);
        if (function != NULL)
                result = usercode_call(c, function);
        if (result == NULL && PyErr_ExceptionMatches(PyExc_SystemExit))
                PyErr_Clear();
        else if (result == NULL)
                evaluate_say_exception(c, true);
        Py_XDECREF(result);
        Py_XDECREF(function);
        jsonbuf_raw(ret_end, "{\"reason\":\"exit\"}");
}

void repl_run(Client *c, JsonBuffer *ret_end) {
        if (hooks_replaced(HOOK_HANDLE_REPL))
                call_replaced(c, ret_end);
        else
                begin(c, ret_end);
}
