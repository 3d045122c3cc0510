/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/client.h"

#include <stdlib.h>
#include <string.h>

#include "agent/input.h"
#include "agent/mainthread.h"
#include "agent/output.h"
#include "agent/overdue.h"
#include "agent/text.h"
#include "agent/turn.h"
#include "lib/console.h"

#define SIGNALS_STEP_MSEC 100

static _Thread_local Client *current;

Client *client_current(void) {
        return current != NULL && !current->left ? current : NULL;
}

Client *client_left(void) {
        return current != NULL && current->left ? current : NULL;
}

void client_set_current(Client *c) {
        current = c;
}

void client_succeed(Client *c, Session *s) {
        Client *old = s->client;

        *c = (Client){
                .session = s,
                .globals = old->globals,
                .displayed = old->displayed,
                .compiler = old->compiler,
                .redirect_stderr = old->redirect_stderr,
                .exec = old->exec,
                .run_id = old->run_id,
        };
        Py_INCREF(c->globals);
        Py_XINCREF(c->compiler);
        old->displayed = NULL;
        old->left = true;
        s->client = c;
        client_set_current(c);
}

int client_begin_code(Client *c) {
        return c->left ? SESSION_E_LOST : turn_begin_code(c->session);
}

int client_resume_code(Client *c) {
        return c->left ? SESSION_E_LOST : turn_resume_code(c->session);
}

void client_end_code(Client *c) {
        if (!c->left)
                turn_end_code(c->session);
        PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), NULL);
        mainthread_settle();
}

/*
 * Raises an asynchronous exception that is pending for this thread: only bytecode does, and a
 * native wait runs none. Without this, an interrupt that arrives just before the wait would be
 * noticed only after it.
 */
int client_raise_pending(Client *c) {
        static PyObject *code; /* owned for good */
        PyObject *result;

        if (code == NULL)
                code = Py_CompileString("None", "<manhole>", Py_eval_input);
        if (code == NULL)
                return -1;
        result = PyEval_EvalCode(code, c->globals, c->globals);
        Py_XDECREF(result);
        return result == NULL ? -1 : 0;
}

/* Queues one piece, waiting for room. 0, SESSION_E_LOST, or -1 with an exception set. */
static int write_piece(Client *c, uint32_t type, const char *data, size_t n) {
        PyThreadState *gil;

        for (;;) {
                int r = c->left ? SESSION_E_LOST : output_offer(c->session, type, data, n);

                if (r != SESSION_E_FULL)
                        return r;
                if (client_raise_pending(c) < 0)
                        return -1;
                if (c->left) /* just now */
                        return SESSION_E_LOST;
                turn_begin_wait(c->session);
                gil = PyEval_SaveThread();
                output_wait_room(c->session, n, true);
                PyEval_RestoreThread(gil);
                if (turn_end_wait(c->session) != 0) {
                        PyErr_SetNone(PyExc_KeyboardInterrupt);
                        return -1;
                }
        }
}

/* Likewise, where it is so much that other threads should run meanwhile. */
static int write_large(Client *c, uint32_t type, const char *data, size_t n) {
        PyThreadState *gil;
        int r;

        if (client_raise_pending(c) < 0)
                return -1;
        if (c->left)
                return 0;
        turn_begin_wait(c->session);
        gil = PyEval_SaveThread();
        r = output_write(c->session, type, data, n);
        PyEval_RestoreThread(gil);
        if (turn_end_wait(c->session) != 0 || r == SESSION_E_INTERRUPTED) {
                PyErr_SetNone(PyExc_KeyboardInterrupt);
                return -1;
        }
        return 0;
}

int client_write_bytes(Client *c, uint32_t type, const char *data, size_t n) {
        if (!c->aside && n > OUTPUT_LARGE && output_writes(c->session))
                return write_large(c, type, data, n);
        while (n > 0) {
                size_t length = output_cut(data, n, SESSION_PIECE_MAX);
                int r = 0;

                if (c->aside)
                        session_offer_aside(c->session, c->run_id, type, data, length);
                else
                        r = write_piece(c, type, data, length);

                if (r != 0)
                        return r == SESSION_E_LOST ? 0 : -1;
                data += length;
                n -= length;
        }
        return 0;
}

int client_write(Client *c, uint32_t type, PyObject *text) {
        Text t;
        int r;

        if (text_encode(text, &t) < 0)
                return -1;
        r = client_write_bytes(c, type, t.data, t.n);
        text_done(&t);
        return r;
}

void client_say(Client *c, PyObject *text) {
        if (client_write(c, c->exec ? CONSOLE_STDERR : CONSOLE_OUTPUT, text) < 0)
                PyErr_Clear();
}

void client_say_text(Client *c, const char *text) {
        if (client_write_bytes(c, c->exec ? CONSOLE_STDERR : CONSOLE_OUTPUT, text, strlen(text)) < 0)
                PyErr_Clear();
}

bool client_settle_stacks(Client *c) {
        Session *s = c->session;
        PyThreadState *gil;
        bool claimed = overdue_claim(s, &s->opened);

        if (!claimed && overdue_coming(s, &s->opened)) {
                gil = PyEval_SaveThread();
                overdue_wait(s, &s->opened);
                PyEval_RestoreThread(gil);
        }
        return claimed;
}

void client_end(Client *c, const JsonBuffer *end) {
        const char *json = end->n_data > 0 ? end->data : "{\"reason\":\"exit\"}";
        size_t n = strlen(json);
        PyThreadState *gil;

        if (c->left)
                return;
        (void)client_settle_stacks(c);
        while (output_offer_end(c->session, json, n) == SESSION_E_FULL) {
                turn_begin_wait(c->session);
                gil = PyEval_SaveThread();
                output_wait_room(c->session, n, true);
                PyEval_RestoreThread(gil);
                (void)turn_end_wait(c->session);
        }
}

/* Decodes, and ends the line in a bare newline. */
static PyObject *make_line(char *data, size_t n) {
        if (n >= 2 && data[n - 1] == '\n' && data[n - 2] == '\r')
                data[--n - 1] = '\n';
        return PyUnicode_DecodeUTF8(data, (Py_ssize_t)n, "replace");
}

PyObject *client_read_line(Client *c, const char *prompt) {
        PyObject *line = NULL;
        PyThreadState *gil;
        char *data = NULL;
        size_t n = 0;
        int r, interrupted;

        c->signalled = false;
        if (c->aside) {
                PyErr_SetString(PyExc_RuntimeError,
                                "a coroutine cannot wait for input: its event loop would");
                return NULL;
        }
        if (c->session->framed ? write_piece(c, CONSOLE_PROMPT, prompt, strlen(prompt)) < 0
                               : client_write_bytes(c, CONSOLE_OUTPUT, prompt, strlen(prompt)) < 0)
                return NULL;
        if (client_raise_pending(c) < 0)
                return NULL;
        if (c->left)
                return PyUnicode_FromString("");

        do {
                turn_begin_wait(c->session);
                gil = PyEval_SaveThread();
                r = input_wait_line(c->session, c->main_thread ? SIGNALS_STEP_MSEC : -1, &data, &n);
                PyEval_RestoreThread(gil);
                interrupted = turn_end_wait(c->session);
                c->signalled = r == SESSION_E_AGAIN && interrupted == 0 && PyErr_CheckSignals() < 0;
        } while (r == SESSION_E_AGAIN && interrupted == 0 && !c->signalled);

        if (c->signalled)
                return NULL;
        if (interrupted != 0 || r == SESSION_E_INTERRUPTED)
                PyErr_SetNone(PyExc_KeyboardInterrupt);
        else if (r == SESSION_E_END)
                line = PyUnicode_FromString("");
        else if (r < 0)
                PyErr_NoMemory();
        else
                line = make_line(data, n);
        if (r == 0)
                free(data);
        return line;
}
