/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/evaluate.h"

#include <string.h>

#include "agent/await.h"
#include "agent/bare.h"
#include "agent/usercode.h"
#include "lib/frame.h"

#define FILE_NAME "<console>"

/* Of JSON text; together with the rest well below FRAME_PAYLOAD_MAX. */
#define RESULT_MAX (512U * 1024U)
#define TRACEBACK_MAX (256U * 1024U)
#define MESSAGE_MAX (64U * 1024U)
_Static_assert(RESULT_MAX + TRACEBACK_MAX + 2 * MESSAGE_MAX < FRAME_PAYLOAD_MAX, "END must fit in a frame");

typedef struct Raised {
        PyObject *type, *value, *traceback; /* owned */
} Raised;

static void raised_take(Raised *ret) {
        PyErr_Fetch(&ret->type, &ret->value, &ret->traceback);
        PyErr_NormalizeException(&ret->type, &ret->value, &ret->traceback);
        if (ret->value != NULL && ret->traceback != NULL)
                PyException_SetTraceback(ret->value, ret->traceback);
}

static void raised_done(Raised *r) {
        Py_CLEAR(r->type);
        Py_CLEAR(r->value);
        Py_CLEAR(r->traceback);
}

/* The exception as the interpreter would print it. NULL with an exception set. */
static PyObject *raised_format(const Raised *r, bool frames) {
        PyObject *module = PyImport_ImportModule("traceback"), *lines = NULL, *empty, *text = NULL;
        PyObject *value = r->value != NULL ? r->value : Py_None;
        PyObject *traceback = r->traceback != NULL ? r->traceback : Py_None;

        if (module != NULL && frames)
                lines = PyObject_CallMethod(module, "format_exception", "OOO", r->type, value, traceback);
        else if (module != NULL)
                lines = PyObject_CallMethod(module, "format_exception_only", "OO", r->type, value);
        empty = PyUnicode_FromString("");
        if (lines != NULL && empty != NULL)
                text = PyUnicode_Join(empty, lines);
        Py_XDECREF(module);
        Py_XDECREF(lines);
        Py_XDECREF(empty);
        return text;
}

/* "module.Name", or "Name" alone for a builtin. */
static PyObject *type_name(PyObject *type) {
        PyObject *module = PyObject_GetAttrString(type, "__module__"),
                 *name = PyObject_GetAttrString(type, "__qualname__"), *full = NULL;

        if (name != NULL && module != NULL && PyUnicode_Check(module) &&
            PyUnicode_CompareWithASCIIString(module, "builtins") != 0)
                full = PyUnicode_FromFormat("%U.%U", module, name);
        else if (name != NULL) {
                full = name;
                Py_INCREF(full);
        }
        PyErr_Clear();
        Py_XDECREF(module);
        Py_XDECREF(name);
        return full;
}

/* Where the traceback module itself fails: an application that has changed its root or its user may
 * not find it any more. */
static PyObject *raised_bare(const Raised *r, bool frames) {
        PyErr_Clear();
        return bare_format_exception(r->type, r->value != NULL ? r->value : Py_None,
                                     frames && r->traceback != NULL ? r->traceback : Py_None);
}

/* The user's code shows its exceptions: an interrupt reaches it. NULL without an exception. */
static PyObject *raised_text(Client *c, const Raised *r, bool frames) {
        PyObject *text;

        if (client_resume_code(c) != 0)
                return NULL;
        text = raised_format(r, frames);
        if (text == NULL && !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
                text = raised_bare(r, frames);
        client_end_code(c);
        PyErr_Clear();
        return text;
}

void evaluate_say_exception(Client *c, bool traceback) {
        Raised raised;
        PyObject *text;

        raised_take(&raised);
        text = raised_text(c, &raised, traceback);
        if (text != NULL)
                client_say(c, text);
        else
                client_say_text(c, "(an exception that cannot be shown)\n");
        Py_XDECREF(text);
        raised_done(&raised);
}

/* Splits off the last statement of a parsed script, if it is an expression. NULL without an
 * exception if it is not. */
static PyObject *take_last_expression(PyObject *ast, PyObject *tree) {
        PyObject *body = PyObject_GetAttrString(tree, "body"), *kind = PyObject_GetAttrString(ast, "Expr"),
                 *last = NULL, *value = NULL, *expression = NULL;
        Py_ssize_t n = body == NULL ? 0 : PyList_Size(body);

        if (n > 0 && kind != NULL) {
                last = PyList_GetItem(body, n - 1);
                Py_XINCREF(last);
        }
        if (last != NULL && PyObject_IsInstance(last, kind) == 1 &&
            PyList_SetSlice(body, n - 1, n, NULL) == 0)
                value = PyObject_GetAttrString(last, "value");
        if (value != NULL)
                expression = PyObject_CallMethod(ast, "Expression", "O", value);
        Py_XDECREF(value);
        Py_XDECREF(last);
        Py_XDECREF(kind);
        Py_XDECREF(body);
        return expression;
}

/* @tree may be source too. */
static PyObject *compile_with(PyObject *tree, const char *mode, long flags) {
        PyObject *builtins = PyImport_ImportModule("builtins"), *code = NULL;

        if (builtins != NULL)
                code = PyObject_CallMethod(builtins, "compile", "Ossl", tree, FILE_NAME, mode, flags);
        Py_XDECREF(builtins);
        return code;
}

static PyObject *compile_tree(PyObject *tree, const char *mode) {
        PyObject *code = compile_with(tree, mode, 0);

        if (code == NULL && await_is_possible()) {
                PyErr_Clear();
                code = compile_with(tree, mode, AWAIT_FLAGS);
        }
        return code;
}

/* As ast.parse(). The module `ast` may be gone from the disk, _ast is in the interpreter. */
static PyObject *parse(PyObject *ast, PyObject *source) {
        PyObject *flags = PyObject_GetAttrString(ast, "PyCF_ONLY_AST"), *tree = NULL;

        if (flags != NULL)
                tree = compile_with(source, "exec", PyLong_AsLong(flags));
        Py_XDECREF(flags);
        return tree;
}

/* Versions up to 3.8 do not limit the depth of a tree, and overflow the stack over it: what compiles as
 * text is not too deep. Later ones limit both; twice would be two warnings. */
static bool refuse_depth(PyObject *source) {
        const char *version = Py_GetVersion();
        PyObject *code;

        if (strncmp(version, "3.", 2) != 0 || strtol(version + 2, NULL, 10) > 8)
                return false;
        code = compile_tree(source, "exec");
        Py_XDECREF(code);
        return code == NULL;
}

/* Parses the source into the code before its last expression and, or NULL, that expression's. */
static int compile_source(Session *s, PyObject **ret_script, PyObject **ret_expression) {
        PyObject *ast = PyImport_ImportModule("_ast"), *source, *tree = NULL, *last = NULL;
        PyObject *script = NULL, *expression = NULL;

        source = PyUnicode_DecodeUTF8(s->source, (Py_ssize_t)s->n_source, "strict");
        if (ast != NULL && source != NULL && !refuse_depth(source))
                tree = parse(ast, source);
        if (tree != NULL)
                last = take_last_expression(ast, tree);
        if (last != NULL)
                expression = compile_tree(last, "eval");
        if (tree != NULL && !PyErr_Occurred())
                script = compile_tree(tree, "exec");
        Py_XDECREF(last);
        Py_XDECREF(tree);
        Py_XDECREF(source);
        Py_XDECREF(ast);
        if (script == NULL) {
                Py_XDECREF(expression);
                return -1;
        }
        *ret_script = script;
        *ret_expression = expression;
        return 0;
}

/* Appends a str as a JSON string, or null if there is none. False if it was cut. Consumes @text. */
static bool append_text_consume(JsonBuffer *b, PyObject *text, size_t max) {
        PyObject *bytes = text == NULL ? NULL : PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
        bool whole = true;

        if (bytes != NULL)
                whole = jsonbuf_string(b, PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes), max);
        else
                jsonbuf_raw(b, "null");
        PyErr_Clear();
        Py_XDECREF(bytes);
        Py_XDECREF(text);
        return whole;
}

/* repr() or str(), which are the user's code: an interrupt reaches them. NULL without an exception. */
static PyObject *text_of(Client *c, PyObject *object, PyObject *(*convert)(PyObject *object)) {
        PyObject *text = NULL;

        if (object == NULL || client_begin_code(c) != 0)
                return NULL;
        text = convert(object);
        client_end_code(c);
        PyErr_Clear();
        return text;
}

/* What the process's exit status would be; says what SystemExit would print. */
static long exit_status(Client *c, PyObject *value) {
        PyObject *code = value == NULL ? NULL : PyObject_GetAttrString(value, "code"), *line;
        long status = 1;

        if (code == NULL || code == Py_None)
                status = 0;
        else if (PyLong_Check(code))
                status = PyLong_AsLong(code) & 0xFF;
        else {
                line = text_of(c, code, PyObject_Str);
                if (line != NULL) {
                        client_say(c, line);
                        client_say_text(c, "\n");
                }
                Py_XDECREF(line);
        }
        PyErr_Clear();
        Py_XDECREF(code);
        return status;
}

/* Writes the verdict. @raised has a type if an exception ended the script. */
static void write_verdict(Client *c, JsonBuffer *b, PyObject *result, const Raised *raised) {
        bool left = raised->type != NULL && PyErr_GivenExceptionMatches(raised->type, PyExc_SystemExit);
        bool failed = raised->type != NULL && !left, whole;

        jsonbuf_raw(b, "{\"reason\":\"done\",\"status\":");
        jsonbuf_integer(b, left ? exit_status(c, raised->value) : failed);
        jsonbuf_raw(b, ",\"result\":");
        whole = append_text_consume(b, text_of(c, result == Py_None ? NULL : result, PyObject_Repr),
                                    RESULT_MAX);
        jsonbuf_raw(b, ",\"exception\":");
        if (failed) {
                jsonbuf_raw(b, "{\"type\":");
                whole &= append_text_consume(b, type_name(raised->type), MESSAGE_MAX);
                jsonbuf_raw(b, ",\"message\":");
                whole &= append_text_consume(b, text_of(c, raised->value, PyObject_Str), MESSAGE_MAX);
                jsonbuf_raw(b, ",\"traceback\":");
                whole &= append_text_consume(b, raised_text(c, raised, true), TRACEBACK_MAX);
                jsonbuf_raw(b, "}");
        } else
                jsonbuf_raw(b, "null");
        jsonbuf_raw(b, whole ? "}" : ",\"truncated\":true}");
}

void evaluate_exec(Client *c, JsonBuffer *ret_end) {
        PyObject *script = NULL, *expression = NULL, *result = NULL;
        Raised raised = {};

        if (compile_source(c->session, &script, &expression) == 0) {
                result = usercode_run(c, script);
                if (result != NULL && expression != NULL) {
                        Py_DECREF(result);
                        result = usercode_run(c, expression);
                } else if (result != NULL)
                        Py_CLEAR(result);
        }
        if (PyErr_Occurred())
                raised_take(&raised);
        Py_XDECREF(script);
        Py_XDECREF(expression);

        write_verdict(c, ret_end, result, &raised);
        Py_XDECREF(result);
        raised_done(&raised);
}
