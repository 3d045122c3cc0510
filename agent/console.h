/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The thread that runs code for one client: a console (repl.h), an `exec` (evaluate.h) or a function of
 * the application's (handler.h).
 *
 * It has a Python thread state from its first line to its last, and holds the GIL only while there
 * is something to run or to say: it waits for input and for room without it.
 */

#include "agent/runner.h"

/* Runs what the session asks for in the calling thread. 0, or -1 with the exception of one of the
 * application's own signal handlers set: that thread is its main one. @ret_left: whether the thread was
 * left before its end (interrupt.h). GIL held. */
int console_serve(Session *s, bool *ret_left);

/* The same for a session that was left to the calling thread (handover.h); takes over the reference. */
int console_attend(Session *s);

/* Runs it in a thread of its own after all; takes over the reference. Any thread. */
void console_start_thread(Session *s);

/* Its functions are for the I/O thread. */
extern const Runner console_runner;
