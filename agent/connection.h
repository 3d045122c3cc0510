/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A client's socket, between its session and the I/O thread: who is admitted, what is read, what is
 * sent, how it ends. I/O thread only; no Python API.
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/service.h"
#include "agent/session.h"

/* Takes over an accepted descriptor. NULL when the client was refused: it has seen no byte. */
Session *connection_admit_consume(int fd, bool room, const Service *service);

/* The session is watched now: greets a framed client, starts a plain one's console; or has the
 * application asked first. */
void connection_begin(Session *s);

/* Acts on the application's word, where it has been asked. */
void connection_judge(Session *s);

/* What epoll says of it. */
void connection_event(Session *s, uint32_t events);

/* Sends what waits. False when the session is over and must be removed. @ret_ending: only its last
 * bytes have to go, and time runs for them. */
bool connection_send(Session *s, bool *ret_ending);

/* The process ends: tells the client, and lets the session end. */
void connection_stop(Session *s);

/* Interrupts what still runs for it, if asked to, and closes the descriptor. */
void connection_end(Session *s, bool interrupt);
