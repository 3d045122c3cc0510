/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A session that outlives its client for a while, and is taken up again by another of the same user.
 *
 * Meanwhile what the target says is read and recorded as always, so that the target waits for nobody;
 * the last of it is kept for the client that comes (backlog.h). What the lost client said last still
 * goes to the target.
 */

#include "daemon/session.h"

/* The session relays, but has no client. */
bool session_lingers(const Session *s);

/* The client is gone: the session lingers from now on. False if it may not. */
bool session_linger(Session *s);

/* Of one that lingers: ends it when its time is over. */
void session_linger_wait(Session *s);

/* Takes the client away if there is one, and records that @peer is the client from now on. 0; -EBUSY:
 * the session cannot be without a client; or another errno: it cannot be recorded. */
int session_take_over(Session *s, const Peer *peer);

/* After that: takes the new client's descriptor over, in any case. */
void session_resume_consume(Session *s, int client_fd, const void *rest, size_t n_rest);
