/* SPDX-License-Identifier: BSD-2-Clause */
#include <Python.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/await.h"
#include "agent/bare.h"
#include "agent/client.h"
#include "agent/compile.h"
#include "agent/console.h"
#include "agent/credentials.h"
#include "agent/evaluate.h"
#include "agent/gil.h"
#include "agent/handler.h"
#include "agent/handover.h"
#include "agent/history.h"
#include "agent/hooks.h"
#include "agent/interrupt.h"
#include "agent/listener.h"
#include "agent/log.h"
#include "agent/namespace.h"
#include "agent/overdue.h"
#include "agent/redirect.h"
#include "agent/settings.h"
#include "agent/shutdown.h"
#include "agent/stacks.h"
#include "agent/thread.h"
#include "lib/console.h"

/* Up to 3.10 the interpreter's limit of recursion wants this much, whatever RLIMIT_STACK says. */
#define CONSOLE_STACK_SIZE (8U * 1024U * 1024U)
/* Enough for functions that call themselves without end, in every version. */
#define CONSOLE_STACK_SIZE_MIN (2U * 1024U * 1024U)
/* More than a console and what it imports take. */
#define CONSOLE_ROOM (8U * 1024U * 1024U)

#define PROMPT ">>> "
#define PROMPT_MORE "... "
#define LEFT "it did not stop the code, which is left to finish in the background"

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

/* Evaluates code in the console's namespace; or calls a function with that namespace. */
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

static PyObject *run_code(Client *c, PyObject *code) {
        return run(c, code, NULL);
}

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
                result = run_code(c, code);
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

/* The application has a prompt of its own. */
static void run_replaced_repl(Client *c, JsonBuffer *ret_end) {
        PyObject *function = hooks_get(HOOK_HANDLE_REPL), *result = NULL;

        (void)client_settle_stacks(c);
        if (function != NULL)
                result = run(c, NULL, function);
        if (result == NULL && PyErr_ExceptionMatches(PyExc_SystemExit))
                PyErr_Clear();
        else if (result == NULL)
                evaluate_say_exception(c, true);
        Py_XDECREF(result);
        Py_XDECREF(function);
        jsonbuf_raw(ret_end, "{\"reason\":\"exit\"}");
}

static void run_prompt(Client *c, JsonBuffer *ret_end) {
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

static void run_console(Client *c, JsonBuffer *ret_end) {
        c->compiler = make_compiler();
        if (c->compiler != NULL) {
                say_stacks(c);
                if (c->session->open_banner)
                        say_banner(c);
                run_prompt(c, ret_end);
        } else
                evaluate_say_exception(c, true);
}

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
                run_prompt(c, ret_end);
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
                        evaluate_exec(c, run_code, &end);
                else if (hooks_replaced(HOOK_HANDLE_REPL))
                        run_replaced_repl(c, &end);
                else
                        run_console(c, &end);
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

        s->thread_id = PyThread_get_thread_ident();
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
                listener_left_ends();
                session_unref(s);
                return;
        }
        log_line("DONE.");
        listener_console_ends(s);
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
        listener_console_ends(s);
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
                listener_console_ends(s);
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
        if (!listener_console_begins(s))
                return -EAGAIN;
        return handover_offer(s) ? 0 : start_thread(session_ref(s));
}

static void interrupt(Session *s) {
        session_ref(s);
        if (start_native(interrupt_main, s) < 0) {
                session_errand_failed(s);
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
