/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A session as its console thread's Python code sees it: writes text, reads lines, and lets go of
 * the GIL for as long as that takes. Everything here needs the GIL.
 *
 * The calling thread's client is kept in a thread-local variable. A thread that a session's code
 * starts has none: it is one of the application's. So is, from then on, a thread that was left because
 * it takes no interrupt (interrupt.h): nothing here works for its client any more. What it writes and
 * says is lost, what it reads is the end of input, and its code does not begin.
 */

#include <Python.h>

#include <stdbool.h>

#include "agent/jsonbuf.h"
#include "agent/session.h"

typedef struct Client {
        Session *session;     /* referenced */
        PyObject *globals;    /* owned: the console's namespace */
        PyObject *displayed;  /* owned: what `_` was last set to, or NULL */
        PyObject *leftover;   /* owned: read, but not yet asked for; or NULL */
        PyObject *compiler;   /* owned: of a console's lines; or NULL */
        bool redirect_stderr; /* the code's stderr goes to the client */
        bool exec;            /* stdout and stderr apart */
        bool left;            /* another client has taken its place */
        bool main_thread;     /* the application's signal handlers have their turn while it waits */
        bool signalled;       /* the last read was ended by what one of them raised */
        bool aside;           /* the thread must not wait: it is the application's (coroutine.h) */
        uint32_t run_id;
} Client;

/* Of the calling thread, or NULL. */
Client *client_current(void);
void client_set_current(Client *c);

/* The calling thread's, if it was left. */
Client *client_left(void);

/* Leaves the session's client, and puts @c in its place with what it had: the calling thread's. */
void client_succeed(Client *c, Session *s);

/* User code begins, or goes on to show its exception (session.h). 0, or SESSION_E_*: it must not. */
int client_begin_code(Client *c);
int client_resume_code(Client *c);
/* It is over: an interrupt that was raised too late is for nobody. */
void client_end_code(Client *c);

/* Writes to the client. Waits for room as long as the client makes progress; to a client that is
 * gone it writes nothing. 0, or -1 with KeyboardInterrupt (or another exception) set. */
int client_write(Client *c, uint32_t type, PyObject *text);
int client_write_bytes(Client *c, uint32_t type, const char *data, size_t n);

/* As client_write(), but survives an interrupt and never fails: for the console's own words. */
void client_say(Client *c, PyObject *text);
void client_say_text(Client *c, const char *text);

/* The console shows its stacks now, or never. True: it is to show them itself. False: nobody wants
 * them, or they came without the GIL and are all sent. */
bool client_settle_stacks(Client *c);

/* Raises what is pending for this thread: before it waits natively. 0, or -1 with an exception set. */
int client_raise_pending(Client *c);

/* Ends the run with this JSON object; nothing can be written after that. Without one (no memory was
 * left to say more) the reason is "exit". */
void client_end(Client *c, const JsonBuffer *end);

/* Says with @prompt (may be empty) that a line is wanted, waits, and returns it as str, with its
 * newline. At the end of input the empty str. NULL with KeyboardInterrupt set on an interrupt, or with
 * what a signal handler of the application has raised. */
PyObject *client_read_line(Client *c, const char *prompt);
