/* SPDX-License-Identifier: BSD-2-Clause */
#include <Python.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/aio.h"
#include "agent/clock.h"
#include "agent/health.h"
#include "agent/loop.h"
#include "agent/vitals.h"

/* A loop that takes longer is late enough to say so. */
#define LAG_SEC 0.1

static void add_msec(JsonBuffer *b, const char *name, int64_t nsec) {
        char text[64];

        snprintf(text, sizeof(text), "%s%.3f", name, (double)nsec / 1e6);
        jsonbuf_raw(b, text);
}

/* A number that the collector tells of itself; null where it does not. */
static void add_collector(JsonBuffer *b) {
        PyObject *gc = PyImport_ImportModule("gc"), *enabled = NULL, *counts = NULL;

        if (gc != NULL)
                enabled = PyObject_CallMethod(gc, "isenabled", NULL);
        if (enabled != NULL)
                counts = PyObject_CallMethod(gc, "get_count", NULL);
        if (counts != NULL && PyTuple_Check(counts)) {
                jsonbuf_raw(b, enabled == Py_True ? ",\"gc\":{\"enabled\":true,\"counts\":["
                                                  : ",\"gc\":{\"enabled\":false,\"counts\":[");
                for (Py_ssize_t i = 0; i < PyTuple_Size(counts); i++) {
                        jsonbuf_raw(b, i > 0 ? "," : "");
                        jsonbuf_integer(b, PyLong_AsLong(PyTuple_GetItem(counts, i)));
                }
                jsonbuf_raw(b, "]}");
        } else
                jsonbuf_raw(b, ",\"gc\":null");
        PyErr_Clear();
        Py_XDECREF(counts);
        Py_XDECREF(enabled);
        Py_XDECREF(gc);
}

/* How long the loop takes to come to what it is asked now; negative when that is too long. Waits without
 * the GIL. */
static int64_t measure_lag(PyObject *loop) {
        PyObject *threading = PyImport_ImportModule("threading"), *event = NULL, *set = NULL, *handle = NULL,
                 *seen = NULL;
        int64_t begun, lag = -1;

        if (threading != NULL)
                event = PyObject_CallMethod(threading, "Event", NULL);
        if (event != NULL)
                set = PyObject_GetAttrString(event, "set");
        begun = clock_now_ns();
        if (set != NULL)
                handle = PyObject_CallMethod(loop, "call_soon_threadsafe", "O", set);
        if (handle != NULL)
                seen = PyObject_CallMethod(event, "wait", "d", LAG_SEC);
        if (seen == Py_True)
                lag = clock_now_ns() - begun;
        PyErr_Clear();
        Py_XDECREF(seen);
        Py_XDECREF(handle);
        Py_XDECREF(set);
        Py_XDECREF(event);
        Py_XDECREF(threading);
        return lag;
}

static void add_loop(JsonBuffer *b) {
        PyObject *loop = loop_find();
        AioTasks tasks = AIO_TASKS_INIT;
        int64_t lag;

        if (loop == NULL) {
                jsonbuf_raw(b, ",\"loop\":null");
                return;
        }
        lag = measure_lag(loop);
        aio_collect(&tasks);
        jsonbuf_raw(b, ",\"loop\":{\"tasks\":");
        jsonbuf_integer(b, (long long)(tasks.n_tasks + tasks.n_left_out));
        if (lag >= 0)
                add_msec(b, ",\"lag_ms\":", lag);
        else
                jsonbuf_raw(b, ",\"lag_ms\":null");
        jsonbuf_raw(b, "}");
        aio_done(&tasks);
        Py_DECREF(loop);
}

void vitals_answer(Session *s, const char *payload, size_t n_payload, JsonBuffer *ret) {
        int64_t waited = clock_now_ns() - s->question.begun_ns;
        const char *version = Py_GetVersion();
        PyThreadState *gil = PyEval_SaveThread();

        health_write_process(ret, true);
        PyEval_RestoreThread(gil);
        jsonbuf_raw(ret, ",\"python\":{\"version\":");
        (void)jsonbuf_string(ret, version, strcspn(version, " "), 64);
        add_msec(ret, ",\"gil_wait_ms\":", waited);
        add_collector(ret);
        add_loop(ret);
        jsonbuf_raw(ret, "}}");
}
