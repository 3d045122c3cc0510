/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The thread that runs code for one client. This is the only file that runs user code.
 *
 * It has a Python thread state from its first line to its last, and holds the GIL only while there
 * is something to run or to say: it waits for input and for room without it.
 */

#include "agent/runner.h"

/* Runs what the session asks for in the calling thread. Returns whether the thread was left before its
 * end (interrupt.h). GIL held. */
bool console_serve(Session *s);

/* Its functions are for the I/O thread. */
extern const Runner console_runner;
