/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The thread that runs code for one client. This is the only file that runs user code.
 *
 * It has a Python thread state from its first line to its last, and holds the GIL only while there
 * is something to run or to say: it waits for input and for room without it.
 */

#include "agent/session.h"

/* Starts the thread for the run that the session's fields describe. I/O thread; GIL not needed. 0
 * or negative errno. */
int console_start(Session *s);

/* Sends the errand that raises KeyboardInterrupt in the session's code. I/O thread. */
void console_interrupt(Session *s);
