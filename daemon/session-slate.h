/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A session that relays, as its slate has it, and where that and its sockets are kept for the next
 * manholed (store.h).
 */

#include "daemon/session.h"

#define SESSION_STORED "session-" /* the slate and the socket to the target, by the session's id */
#define CLIENT_STORED "client-"   /* the client's socket */

/* Gives the session its slate; the record is written down in it from now on. 0 or negative errno. */
int session_slate_begin(Session *s);

/* Stores what the session needs to outlive this process, if there is room. */
void session_slate_store(Session *s);

/* The session has another client, or none (client_fd). */
void session_slate_client_changed(Session *s);

/* Nothing of it is stored any longer: its sockets are closed for both sides. */
void session_slate_drop(Session *s);

/* What the slate says of a session that another process has begun. The slate is the session's, and
 * SLATE_E_* is none of the errors. 0 or negative errno. */
int session_slate_load(Session *s);
