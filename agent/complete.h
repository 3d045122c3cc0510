/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The request `complete` (question.c): what a text at the prompt may become. The package's Python part
 * (_complete.py) looks for it in the namespace of the session's console, or in a fresh one. GIL held.
 */

#include <stddef.h>

#include "agent/jsonbuf.h"
#include "agent/session.h"

void complete_answer(Session *s, const char *payload, size_t n_payload, JsonBuffer *ret);
