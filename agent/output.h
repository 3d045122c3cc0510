/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A session's output on its way to the client: who sends, and when. No Python API.
 *
 * What a session's own thread writes is queued, and goes at the latest a moment later, when much has
 * gathered, or when the thread waits for input; the thread sends it itself where the socket takes it.
 * What the socket does not take, and copies of other threads' output, the I/O thread sends. One sends at a
 * time: Session.sending.
 */

#include <stddef.h>
#include <stdint.h>

#include "agent/session.h"

/* More is written in one go without the GIL, as one piece at a time without a place in the queue. */
#define OUTPUT_LARGE (64U * 1024U)

/* As session_offer(), and sees to it that it is sent. Any thread. */
int output_offer(Session *s, uint32_t type, const void *data, size_t n);

/* As session_offer_end(), likewise. Console thread. */
int output_offer_end(Session *s, const void *data, size_t n);

/* Sends what is queued, as far as the socket takes it. Any thread. */
void output_flush(Session *s);

/* One send of what is queued. Any thread. 0 when there is nothing (more) to do now, 1 to go on, negative
 * errno. */
int output_send(Session *s);

/* How much of @n bytes of UTF-8 goes into a piece of at most so many (more than 4): whole characters. */
size_t output_cut(const char *data, size_t n, size_t most);

/* Whether output_write() can be used. */
bool output_writes(const Session *s);

/*
 * Sends all this, after what is queued. Waits for the client as long as it takes anything. Console thread,
 * GIL not held, between turn_begin_wait() and turn_end_wait(). 0, SESSION_E_LOST,
 * SESSION_E_INTERRUPTED.
 */
int output_write(Session *s, uint32_t type, const char *data, size_t n);

/* GIL not held. Returns when there is room for @n, when the session is lost, or, if that is wanted, on
 * an interrupt. */
void output_wait_room(Session *s, size_t n, bool interruptible);
