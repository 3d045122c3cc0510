/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The agent's socket: when it is opened, now or later, when it is closed, and that there is none any more
 * when the process ends. What comes through it is the I/O thread's (io.h). No Python API.
 *
 * Lock order: the listener's lock, the I/O thread's, then a session's. Nobody wants the GIL under any of
 * them, so all may be taken with the GIL held.
 */

#include <stdbool.h>

#include "agent/service.h"
#include "agent/session.h"

/* Opens the socket at @path (NULL: /tmp/manhole-PID) and serves it. Logs what fails. Any thread, one at a
 * time. 0, -EALREADY without a word, or another negative errno. */
int listener_open(const char *path, const Service *service);

/* As listener_open(), for this process's own path and after @delay_sec, in a thread that does not
 * stand in the way of an exec() before that. Dropped if another open, close or fork comes first. Any
 * thread; also a child after fork. */
int listener_open_later(double delay_sec, const Service *service);

/* Removes and closes the socket; clients that are connected stay. Any thread. */
void listener_close(void);

/* Has a connection served that did not come through the socket. Any thread. 0 or negative errno. */
int listener_adopt(Session *s);

/* Waits up to @msec until no console keeps the process alive. GIL not held. True when it is so. */
bool listener_wait_consoles(int msec);

/* Closes the socket for good, tells and closes every client, and waits for the I/O thread, a second at
 * most, and a moment for the consoles. GIL not held. */
void listener_stop(void);

/* Forgets parent's socket, clients and locks. @current is the session of the calling thread, if it
 * has one. Child after fork; the parent's locks are held from _prepare to _parent or _child. */
void listener_fork_prepare(void);
void listener_fork_parent(void);
void listener_fork_child(Session *current);
