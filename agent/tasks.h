/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What runs in turns within a thread, as text and as JSON: the tasks of asyncio (aio.h), with who
 * waits for whom. Nothing where the application uses none. GIL held.
 */

#include <Python.h>

#include "agent/frames.h"
#include "agent/jsonbuf.h"
#include "agent/session.h"

/* Appends a block for each, as for a thread. 0, or -1 with an exception set. */
int tasks_append(Frames *f, PyObject *lines);

/* The request `tasks` (question.c). */
void tasks_answer(Session *s, const char *payload, size_t n_payload, JsonBuffer *ret);
