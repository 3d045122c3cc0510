/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Requests that only Python can answer, and that ask for one JSON object: one table says who makes
 * which (question.c). A thread waits for the GIL to do so. Where it does not come in time, or the
 * answer does not, the client is told that instead. One question a session at a time.
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/session.h"

enum {
        _QUESTION_E_SUCCESS,
        QUESTION_E_BUSY,    /* the session's last question is not done with yet */
        QUESTION_E_UNKNOWN, /* nobody answers this type */
};

/* Begins to answer the request that the session has just read, and takes its payload. I/O thread. 0,
 * QUESTION_E_*, or negative errno. */
int question_begin(Session *s, uint32_t type, uint32_t id);

/* Answers what is overdue. Says after how many milliseconds to look again; -1: not at all. I/O
 * thread. */
int question_serve(Session *s);
