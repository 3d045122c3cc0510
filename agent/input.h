/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What a client types, on its way to who waits for a line. No Python API.
 *
 * While code runs the I/O thread reads, so that an interrupt is seen. While the console thread of a plain
 * client waits for a line it reads the socket itself, which saves the way through another thread; the
 * end of input, errors and too much input it leaves to the I/O thread. Who reads is Session.reader.
 */

#include <stddef.h>
#include <stdint.h>

#include "agent/session.h"

/* The I/O thread begins to read, unless the console thread does; and is done. */
bool input_begin_io(Session *s);
void input_end_io(Session *s);

/* Puts what a plain client has sent into the inbox: ETX interrupts at once, and what was typed before it
 * is forgotten. The reader. @ret_errand: an errand must be sent to interrupt. 0 or as inbox_put(). */
int input_receive(Session *s, const uint8_t *bytes, size_t n, bool *ret_errand);

/* Sends what is queued, and waits. Console thread, GIL not held, between turn_begin_wait() and
 * turn_end_wait(). 0 (the caller frees @ret), SESSION_E_END, SESSION_E_INTERRUPTED, SESSION_E_AGAIN after
 * @msec (negative: never), or -ENOMEM. */
int input_wait_line(Session *s, int msec, char **ret, size_t *ret_n);
