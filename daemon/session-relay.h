/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* A session's two flows, from session_relay_consume() on: what their ends and the client's going mean
 * for the session. */

#include "daemon/session.h"

/* The recorder may have room again. */
void session_relay_resume(Session *s);

/* The session's timer, while it relays: the client's last words have had their time. */
void session_relay_on_timer(Session *s);
