/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* A session's two flows, from session_relay_consume() on: what their ends and the client's going mean
 * for the session. */

#include "daemon/session.h"

/* The recorder may have room again. */
void session_relay_on_room(RecorderSession *record);

/* Watches for the client to go. 0 or negative errno. */
int session_relay_watch_client(Session *s);

/* The session's timer, while it relays: the client's last words, or the time without a client, have
 * come to an end. */
void session_relay_on_timer(Session *s);

/* Of one that another process has begun, with all that its slate says: it relays again, but nothing
 * moves before session_relay_go_on(). 0 or -ENOMEM. */
int session_relay_restore(Session *s);
void session_relay_go_on(Session *s);
