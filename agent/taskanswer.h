/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The request `tasks`: the tasks of asyncio, with who waits for whom, and the greenlets, as JSON.
 */

#include <stddef.h>

#include "agent/jsonbuf.h"
#include "agent/session.h"

/* See question.c. GIL held; leaves no exception. */
void taskanswer_make(Session *s, const char *payload, size_t n_payload, JsonBuffer *ret);
