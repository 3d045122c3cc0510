/* SPDX-License-Identifier: BSD-2-Clause */
#include <Python.h>

#include "agent/client.h"
#include "agent/complete.h"
#include "agent/namespace.h"

/* Of JSON text; a name is shorter. */
#define MATCH_MAX 4096U

/* New reference, or NULL with an exception set. */
static PyObject *take_namespace(Session *s) {
        PyObject *globals;

        if (s->client == NULL)
                return namespace_new();
        globals = s->client->globals;
        Py_INCREF(globals);
        return globals;
}

/* (start, matches, truncated), or NULL with an exception set. */
static PyObject *find(Session *s, const char *payload, size_t n_payload) {
        PyObject *module = PyImport_ImportModule("manhole._complete"), *globals = NULL, *text = NULL,
                 *found = NULL;

        if (module != NULL)
                globals = take_namespace(s);
        if (globals != NULL)
                text = PyUnicode_DecodeUTF8(payload, (Py_ssize_t)n_payload, "strict");
        if (text != NULL)
                found = PyObject_CallMethod(module, "complete", "OO", text, globals);
        Py_XDECREF(text);
        Py_XDECREF(globals);
        Py_XDECREF(module);
        return found;
}

static void add_match(JsonBuffer *b, PyObject *match) {
        PyObject *bytes = PyUnicode_AsEncodedString(match, "utf-8", "backslashreplace");

        if (bytes != NULL)
                (void)jsonbuf_string(b, PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes), MATCH_MAX);
        else
                jsonbuf_raw(b, "null");
        Py_XDECREF(bytes);
}

void complete_answer(Session *s, const char *payload, size_t n_payload, JsonBuffer *ret) {
        PyObject *found = find(s, payload, n_payload), *start, *matches, *truncated;

        if (found != NULL && PyArg_ParseTuple(found, "OOO", &start, &matches, &truncated)) {
                jsonbuf_raw(ret, "{\"start\":");
                jsonbuf_integer(ret, PyLong_AsLong(start));
                jsonbuf_raw(ret, ",\"matches\":[");
                for (Py_ssize_t i = 0; i < PyList_Size(matches); i++) {
                        jsonbuf_raw(ret, i > 0 ? "," : "");
                        add_match(ret, PyList_GetItem(matches, i));
                }
                jsonbuf_raw(ret, PyObject_IsTrue(truncated) == 1 ? "],\"truncated\":true}" : "]}");
        }
        PyErr_Clear();
        Py_XDECREF(found);
}
