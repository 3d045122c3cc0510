/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The interpreter's part of the request `health` (question.c): how long it made us wait, its collector,
 * the application's loop. GIL held.
 */

#include <stddef.h>

#include "agent/jsonbuf.h"
#include "agent/session.h"

void vitals_answer(Session *s, const char *payload, size_t n_payload, JsonBuffer *ret);
