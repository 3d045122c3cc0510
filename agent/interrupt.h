/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The errand that interrupts what a session runs, and does without the thread that takes no notice.
 *
 * A KeyboardInterrupt that is raised in another thread waits for that thread's next bytecode. A call
 * that blocks in C (time.sleep(), a lock, recv()) runs none before it returns, and no signal ends it;
 * other code catches what is raised and goes on. Nobody can tell the one from the other. So:
 *
 *      RUNS --- KeyboardInterrupt raised ---> TOLD --- code ends, or waits for its client ---> over
 *                                             |  ^
 *                       the GIL came too late |  | (or asked again: raised again)
 *                                             v  |
 *                                  INTERRUPT_GRACE_MSEC is over ---> LEFT
 *
 * A thread is left in one step, with the GIL held: the errand's thread becomes the console thread, with
 * the same namespace, and the other one is nobody's. It finishes in the background as a thread of the
 * application would, and ends when its code does. Its client says so (client.h); it keeps the process no
 * longer alive, the session knows nothing of it, and what it raises is not shown. Those that are left are
 * counted: beyond CONSOLES_LEFT_MAX a session waits for its code, however long that takes.
 *
 * There is one errand a session, as long as it takes. A session that is lost is no different: then the
 * new console thread finds its input at its end.
 */

#include <Python.h>

#include <stdbool.h>

#include "agent/session.h"

/* How long code may take to notice. */
#define INTERRUPT_GRACE_MSEC 1000

/* Runs the errand. True: it has the GIL, to be given back by gil_give(), and the calling thread is the
 * session's console thread; client_succeed() follows before anything else. GIL not held. */
bool interrupt_run(Session *s, PyThreadState **ret);
