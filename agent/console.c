/* SPDX-License-Identifier: BSD-2-Clause */
#include <Python.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/client.h"
#include "agent/console.h"
#include "agent/consoles.h"
#include "agent/credentials.h"
#include "agent/evaluate.h"
#include "agent/gil.h"
#include "agent/handler.h"
#include "agent/handover.h"
#include "agent/interrupt.h"
#include "agent/listener.h"
#include "agent/log.h"
#include "agent/namespace.h"
#include "agent/redirect.h"
#include "agent/repl.h"
#include "agent/settings.h"
#include "agent/shutdown.h"
#include "agent/thread.h"
#include "agent/turn.h"

/* Up to 3.10 the interpreter's limit of recursion wants this much, whatever RLIMIT_STACK says. */
#define CONSOLE_STACK_SIZE (8U * 1024U * 1024U)
/* Enough for functions that call themselves without end, in every version. */
#define CONSOLE_STACK_SIZE_MIN (2U * 1024U * 1024U)
/* More than a console and what it imports take. */
#define CONSOLE_ROOM (8U * 1024U * 1024U)

#define LEFT "it did not stop the code, which is left to finish in the background"

/* What was run before takes no interrupt, and its thread was left. */
static void run_after_left(Client *c, JsonBuffer *ret_end) {
        if (c->exec) {
                jsonbuf_raw(ret_end, "{\"reason\":\"interrupted\",\"status\":1,\"result\":null,\"exception\":{"
                                     "\"type\":\"KeyboardInterrupt\",\"message\":\"" LEFT "\","
                                     "\"traceback\":\"KeyboardInterrupt: " LEFT "\\n\"}}");
                return;
        }
        client_say_text(c, "\nKeyboardInterrupt: " LEFT "\n");
        /* Without one the prompt was the application's own. */
        if (c->compiler != NULL)
                repl_go_on(c, ret_end);
}

/* What still runs for the session (a destructor) finds an empty namespace. */
static void drop_globals(Client *c) {
        PyObject *old = c->globals, *empty = PyDict_New();

        if (empty == NULL) {
                PyErr_Clear();
                return;
        }
        c->globals = empty;
        Py_DECREF(old);
}

/* Everything is in its place for the run, whose client is left meanwhile or not: puts it away. */
static void end_client(Client *c, const JsonBuffer *end) {
        /* What nobody else has goes now, while what it still says has its place. The namespace itself
         * lives on as long as a function or a thread that the application was given. */
        Py_CLEAR(c->displayed);
        Py_CLEAR(c->leftover);
        Py_CLEAR(c->compiler);
        drop_globals(c);
        if (!c->left) {
                client_end(c, end);
                redirect_end();
                c->session->client = NULL;
        }
}

/* Runs what the session asks for, with everything in its place. 0, or -1 with an exception set that is
 * the calling thread's own affair. */
static int run_client(Client *c) {
        PyObject *type = NULL, *value = NULL, *traceback = NULL;
        Session *s = c->session;
        Client *outer = client_current();
        JsonBuffer end = JSON_BUFFER_INIT;

        client_set_current(c);
        if (redirect_begin() == 0) {
                s->client = c;
                session_receive_copies(s, !c->exec, !c->exec && c->redirect_stderr);
                if (c->exec)
                        evaluate_exec(c, &end);
                else
                        repl_run(c, &end);
                if (c->signalled)
                        PyErr_Fetch(&type, &value, &traceback);
                end_client(c, &end);
        } else {
                evaluate_say_exception(c, true);
                client_end(c, &end);
        }
        jsonbuf_done(&end);
        client_set_current(outer);
        PyErr_Clear();
        PyErr_Restore(type, value, traceback);
        return type != NULL ? -1 : 0;
}

/* A session's code has forked: this is the child, and there is nothing here to return to. */
static void end_child(Session *s) {
        if (s->owner != getpid()) {
                (void)PyEval_SaveThread();
                listener_stop(); /* a socket that is just being opened goes too */
                _exit(0);
        }
}

int console_serve(Session *s, bool *ret_left) {
        Client c = {
                .session = s,
                .exec = s->run == SESSION_RUNS_EXEC,
                .main_thread = gettid() == getpid(),
                .run_id = s->run_id,
        };
        int r = 0;

        pthread_mutex_lock(&s->lock);
        s->thread_id = PyThread_get_thread_ident();
        pthread_mutex_unlock(&s->lock);
        c.redirect_stderr = c.exec || settings_get()->redirect_stderr;
        shutdown_wrap();
        c.globals = namespace_new();
        if (c.globals != NULL)
                r = run_client(&c);
        else {
                evaluate_say_exception(&c, true);
                client_end(&c, &JSON_BUFFER_INIT);
        }
        Py_CLEAR(c.globals);
        end_child(s);
        *ret_left = c.left;
        return r;
}

/* The same for the rest of a run, whose thread was left. */
static bool serve_rest(Session *s) {
        JsonBuffer end = JSON_BUFFER_INIT;
        Client c;

        client_succeed(&c, s);
        run_after_left(&c, &end);
        end_client(&c, &end);
        jsonbuf_done(&end);
        client_set_current(NULL);
        Py_CLEAR(c.globals);
        PyErr_Clear();
        return c.left;
}

static void name_thread(const Session *s) {
        char name[32];

        snprintf(name, sizeof(name), "Manhole < PID:%ld", (long)s->peer.pid);
        thread_set_name(name);
}

/* Consumes the thread's reference. */
static void end_thread_consume(Session *s, bool left) {
        if (left) {
                consoles_end_left();
                session_unref(s);
                return;
        }
        log_line("DONE.");
        consoles_end(s);
        session_unref(s);
        log_line("Cleaned up.");
}

static void log_accepted(Session *s) {
        log_line("Accepted connection on fd:%d from PID:%ld UID:%lu GID:%lu", s->accepted_fd,
                 (long)s->peer.pid, (unsigned long)s->peer.uid, (unsigned long)s->peer.gid);
}

/* A function's exceptions are logged; others can only be the calling thread's own. */
static int serve(Session *s, bool *ret_left) {
        int r = 0;

        if (s->run == SESSION_RUNS_FUNCTION)
                handler_run(s);
        else
                r = console_serve(s, ret_left);
        end_child(s);
        return r;
}

int console_attend(Session *s) {
        bool left;
        int r;

        pthread_mutex_lock(&s->lock);
        s->stays = true;
        pthread_mutex_unlock(&s->lock);
        log_accepted(s);
        r = serve(s, &left);
        log_line("DONE.");
        consoles_end(s);
        session_unref(s);
        return r;
}

static void *console_main(void *arg) {
        Session *s = arg;
        PyThreadState *state;
        bool left = false;

        name_thread(s);
        log_line("Started ManholeConnectionThread thread. Checking credentials ...");
        log_accepted(s);

        if (gil_take(&state)) {
                (void)serve(s, &left);
                PyErr_Clear();
                shutdown_forget_thread();
                gil_give(state);
        }
        end_thread_consume(s, left);
        return NULL;
}

static void *interrupt_main(void *arg) {
        Session *s = arg;
        PyThreadState *state;
        bool left;

        thread_set_name("Manhole errand");
        if (!interrupt_run(s, &state)) {
                session_unref(s);
                return NULL;
        }
        /* The count of consoles, and what the other one has put in its place, are this one's now. */
        name_thread(s);
        left = serve_rest(s);
        end_child(s);
        shutdown_forget_thread();
        gil_give(state);
        end_thread_consume(s, left);
        return NULL;
}

/* A process at its limit of memory may have room for a smaller stack: better than nobody who runs
 * code, though less deep a recursion overflows it. Nobody is better where there is no room to work in:
 * CPython's compiler crashes where it should raise MemoryError. */
static int start_native(ThreadRun main, Session *s) {
        void *room = mmap(NULL, CONSOLE_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        int r;

        if (room == MAP_FAILED)
                return -errno;
        r = thread_start(main, s, CONSOLE_STACK_SIZE);
        if (r == -EAGAIN || r == -ENOMEM)
                r = thread_start(main, s, CONSOLE_STACK_SIZE_MIN);
        munmap(room, CONSOLE_ROOM);
        return r;
}

/* Takes over a reference and the console that has begun. */
static int start_thread(Session *s) {
        int r = start_native(console_main, s);

        if (r < 0) {
                consoles_end(s);
                session_unref(s);
        }
        return r;
}

void console_start_thread(Session *s) {
        session_ref(s);
        if (start_thread(s) < 0) {
                log_line("No thread for a console could be started.");
                (void)session_offer_end(s, "{\"reason\":\"stopping\"}", strlen("{\"reason\":\"stopping\"}"));
        }
        session_unref(s);
}

static int start(Session *s) {
        if (!consoles_begin(s))
                return -EAGAIN;
        return handover_offer(s) ? 0 : start_thread(session_ref(s));
}

static void interrupt(Session *s) {
        session_ref(s);
        if (start_native(interrupt_main, s) < 0) {
                turn_errand_failed(s);
                session_unref(s);
        }
}

const Runner console_runner = {
        .start = start,
        .interrupt = interrupt,
        .has_function = handler_replaced,
        .decides = credentials_replaced,
        .ask = credentials_ask,
};
