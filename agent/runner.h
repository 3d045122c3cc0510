/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Who runs code for clients, as the I/O thread sees it. The serving files ask here and know nothing of
 * Python; console.c is the one that answers.
 */

#include "agent/session.h"

typedef struct Runner {
        /* Starts the run that the session's fields describe, in a thread of its own. GIL not needed. 0
         * or negative errno. */
        int (*start)(Session *s);
        /* Sends the errand that raises KeyboardInterrupt in the session's code. */
        void (*interrupt)(Session *s);
} Runner;

/* Before the first client comes; borrowed for good. */
void runner_set(const Runner *r);

/* I/O thread. */
int runner_start(Session *s);
void runner_interrupt(Session *s);
