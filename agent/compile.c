/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/compile.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

typedef enum Token {
        TOKEN_NONE,
        TOKEN_NAME,
        TOKEN_VALUE, /* a literal, or the end of something in brackets, or a dot */
        TOKEN_OPERATOR,
} Token;

static bool is_word(char c) {
        return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* A name or a number of @n characters. False where its company may be worth a warning. */
static bool scan_word(const char *p, size_t n, Token *ret) {
        static const char *const constants[] = { "None", "True", "False" };

        *ret = TOKEN_NAME;
        if (isdigit((unsigned char)*p)) {
                *ret = TOKEN_VALUE;
                return strspn(p, "0123456789_") >= n;
        }
        for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++)
                if (strlen(constants[i]) == n && memcmp(p, constants[i], n) == 0)
                        *ret = TOKEN_VALUE;
        return !(n == 2 && memcmp(p, "is", 2) == 0) && !(n == 6 && memcmp(p, "assert", 6) == 0) &&
               !(n == 10 && memcmp(p, "__future__", 10) == 0);
}

/*
 * Whether this is one line, with a statement, that the compiler has no warning for, whether it has an
 * error or not: no escape in a string, no comparison of identity, no assertion, no literal that is
 * called or indexed, no number that runs into a word. Nor is it about __future__, which codeop has to
 * remember. What stands in strings is looked at as well.
 */
static bool is_plain(const char *p, size_t n) {
        const char *end = p + n;
        Token last = TOKEN_NONE;

        while (p < end) {
                if (is_word(*p)) {
                        size_t length = 1;

                        while (p + length < end && is_word(p[length]))
                                length++;
                        if (!scan_word(p, length, &last))
                                return false;
                        p += length;
                        continue;
                }
                if (*p == '\0' || strchr("\\#;\r\n", *p) != NULL)
                        return false;
                if ((*p == '(' || *p == '[') && last == TOKEN_VALUE)
                        return false;
                if (strchr(")]}'\".", *p) != NULL)
                        last = TOKEN_VALUE;
                else if (*p != ' ' && *p != '\t')
                        last = TOKEN_OPERATOR;
                p++;
        }
        return last != TOKEN_NONE;
}

static bool looks_plain(PyObject *source) {
        PyObject *bytes = PyUnicode_AsUTF8String(source);
        bool plain = bytes != NULL && is_plain(PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes));

        PyErr_Clear();
        Py_XDECREF(bytes);
        return plain;
}

/* With the flags that codeop would use. NULL without an exception: it is to decide. */
static PyObject *compile_once(PyObject *compiler, PyObject *source, const char *file_name) {
        PyObject *compile = PyDict_GetItemString(PyEval_GetBuiltins(), "compile"); /* borrowed */
        PyObject *own = PyObject_GetAttrString(compiler, "compiler"), *flags = NULL, *code = NULL;

        if (own != NULL)
                flags = PyObject_GetAttrString(own, "flags");
        if (compile != NULL && flags != NULL)
                code = PyObject_CallFunction(compile, "OssOO", source, file_name, "single", flags, Py_True);
        Py_XDECREF(flags);
        Py_XDECREF(own);
        if (code == NULL && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception))
                PyErr_Clear();
        return code;
}

PyObject *compile_typed(PyObject *compiler, PyObject *source, const char *file_name) {
        PyObject *code = NULL;

        if (looks_plain(source))
                code = compile_once(compiler, source, file_name);
        if (code == NULL && !PyErr_Occurred())
                code = PyObject_CallFunction(compiler, "Oss", source, file_name, "single");
        return code;
}
