/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/text.h"

#include <dlfcn.h>
#include <stdbool.h>

/* Characters. Python keeps what it encodes for as long as the text lives: of a short one it may, and it is
 * the quickest way there is. */
#define LENGTH_KEPT 256
/* From here on it pays to ask whether a text is ASCII, which is its own UTF-8. */
#define LENGTH_ASKED (64 * 1024)

/* Exported by each version, but in the stable ABI since 3.10 only. */
static const char *(*as_utf8)(PyObject *, Py_ssize_t *);

static bool is_ascii(PyObject *text) {
        PyObject *answer = PyObject_CallMethod(text, "isascii", NULL);
        bool ascii = answer == Py_True;

        PyErr_Clear();
        Py_XDECREF(answer);
        return ascii;
}

/* True, or false without an exception. */
static bool borrow(PyObject *text, Text *ret) {
        Py_ssize_t length = PyUnicode_GetLength(text), n;
        const char *data = NULL;

        if (as_utf8 == NULL)
                as_utf8 = (const char *(*)(PyObject *, Py_ssize_t *))dlsym(RTLD_DEFAULT,
                                                                           "PyUnicode_AsUTF8AndSize");
        if (as_utf8 != NULL && (length <= LENGTH_KEPT || (length > LENGTH_ASKED && is_ascii(text))))
                data = as_utf8(text, &n);
        if (data == NULL) {
                PyErr_Clear();
                return false;
        }
        *ret = (Text){ .data = data, .n = (size_t)n };
        return true;
}

int text_encode(PyObject *text, Text *ret) {
        PyObject *bytes;

        if (PyUnicode_CheckExact(text) && borrow(text, ret))
                return 0;
        bytes = PyUnicode_AsUTF8String(text);
        if (bytes == NULL && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
                PyErr_Clear();
                bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
        }
        if (bytes == NULL)
                return -1;
        *ret = (Text){ .data = PyBytes_AsString(bytes), .n = (size_t)PyBytes_Size(bytes), .bytes = bytes };
        return 0;
}

void text_done(Text *t) {
        Py_CLEAR(t->bytes);
}
