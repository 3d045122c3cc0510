/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Who runs code for clients, as the I/O thread sees it. The serving files ask here and know nothing of
 * Python; console.h is the one that answers.
 */

#include "agent/session.h"

typedef struct Runner {
        /* Starts the run that the session's fields describe, in a thread of its own. GIL not needed. 0
         * or negative errno. */
        int (*start)(Session *s);
        /* Sends the errand that raises KeyboardInterrupt in the session's code. */
        void (*interrupt)(Session *s);
        /* Whether a function of the application, not a console, serves plain clients. */
        bool (*has_function)(void);
        /* Whether the application decides too who gets in, and the way to ask it: it answers by
         * session_judge(). 0 or negative errno. */
        bool (*decides)(void);
        int (*ask)(Session *s);
} Runner;

/* Before the first client comes; borrowed for good. */
void runner_set(const Runner *r);

/* I/O thread. */
int runner_start(Session *s);
void runner_interrupt(Session *s);
bool runner_has_function(void);
bool runner_decides(void);
int runner_ask(Session *s);
