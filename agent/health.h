/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The request `health`: how the process and its interpreter are.
 */

#include <stdbool.h>

#include "agent/jsonbuf.h"

/* Begins the answer with what needs no Python: an object that is still open. GIL not needed. */
void health_write_process(JsonBuffer *b, bool gil);

/* The whole answer without the GIL. Any thread. */
void health_without_gil(JsonBuffer *ret);
