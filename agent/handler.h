/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A plain client that a function serves, with the socket itself: install(connection_handler=…), or
 * what the application has put in the place of manhole.handle_connection_repl.
 */

#include <stdbool.h>

#include "agent/session.h"

/* Whether the application has replaced the console, whatever it was installed with. Any thread. */
bool handler_replaced(void);

/* Calls it, and closes the connection. What it raises is logged. GIL held. */
void handler_run(Session *s);
