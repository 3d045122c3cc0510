/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Where a thread of the application waits for something to run (oneshot), and the I/O thread leaves it
 * instead of starting a thread. One at a time. No Python API.
 */

#include <stdbool.h>

#include "agent/session.h"

/* The calling thread is going to wait. False: another one does. */
bool handover_begin(void);

/* Waits up to @msec. NULL: nothing yet; else a reference. GIL not held. */
Session *handover_wait(int msec);

/* It does not wait any more; what was left for it meanwhile. */
Session *handover_end(void);

/* Leaves a session, with a reference, to a thread that waits. False: none does. I/O thread. */
bool handover_offer(Session *s);

/* Nobody waits here. Child after fork. */
void handover_fork_child(void);
