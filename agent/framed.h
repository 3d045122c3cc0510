/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The framed face (docs/CONSOLE-PROTOCOL.md): what the bytes of such a client ask for. I/O thread;
 * no Python API.
 */

#include <stddef.h>
#include <stdint.h>

#include "agent/session.h"

/* What the hello object says of the interpreter, as the inside of a JSON object. Copied. GIL held. */
int framed_set_interpreter(const char *json);

/* Queues the hello object under this id. 0 or SESSION_E_*. */
int framed_hello(Session *s, uint32_t id);

/* Acts on bytes that arrived. 0, or negative errno when the client must go. */
int framed_receive(Session *s, const uint8_t *bytes, size_t n);
