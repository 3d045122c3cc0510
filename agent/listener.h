/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The I/O thread: accepts, checks, reads and sends for every client of this process.
 *
 * One native thread that calls no Python API and never wants the GIL, so that a client is answered
 * whatever the interpreter does. It sleeps in epoll_wait() and has nothing to do while nobody is
 * connected. There is one per process, started by the first install and gone when neither a socket
 * nor a client is left.
 *
 * Lock order: the listener's lock, then a session's. Nobody wants the GIL under either, so both may
 * be taken with the GIL held. Only the I/O thread changes the list of sessions.
 */

#include <stdbool.h>
#include <stddef.h>

#include "agent/service.h"
#include "agent/session.h"

/* Connections at a time; a further one is closed at once. */
#define LISTENER_SESSIONS_MAX 128U

/* Console threads at a time. One outlives its connection while it waits for the GIL, or while its code
 * takes no notice of an interrupt; they must not pile up behind clients that try again and again. */
#define LISTENER_CONSOLES_MAX (2 * LISTENER_SESSIONS_MAX)

/* Threads at a time that took no interrupt and were left to finish. */
#define LISTENER_LEFT_MAX 64U

/* Opens the socket at @path (NULL: /tmp/manhole-PID) and serves it, starting the thread if need be. Logs what fails.
 * Any thread, one at a time. 0, -EALREADY without a word, or another negative errno. */
int listener_open(const char *path, const Service *service);

/* As listener_open(), for this process's own path and after @delay_sec, in a thread that does not
 * stand in the way of an exec() before that. Dropped if another open, close or fork comes first. Any
 * thread; also a child after fork. */
int listener_open_later(double delay_sec, const Service *service);

/* Removes and closes the socket; clients that are connected stay. Any thread. */
void listener_close(void);

/* Closes the socket, tells and closes every client, and waits for the thread, a second at most, and a
 * moment for the consoles. GIL not held. */
void listener_stop(void);

/* Serves a session whose connection did not come through the socket. Any thread. 0 or negative errno. */
int listener_adopt(Session *s);

/* The I/O thread, as Python and as the kernel know it. False where there is none. GIL not held. */
bool listener_thread(unsigned long *ret_id, pid_t *ret_native_id);

/* Gives every console a copy of what another thread has written. Any thread. */
void listener_copy(const void *data, size_t n, bool is_stderr);

/* A console thread begins for @s, if there is room for one more, and ends. */
bool listener_console_begins(const Session *s);
void listener_console_ends(const Session *s);

/* A console thread is left to finish, if there is room for one more, and has finished. It keeps the
 * process no longer alive. */
bool listener_left_begins(void);
void listener_left_ends(void);

/* Waits up to @msec until no console keeps the process alive. GIL not held. True when it is so. */
bool listener_wait_consoles(int msec);

/* Forgets parent's socket, clients and locks. @current is the session of the calling thread, if it
 * has one. Child after fork; the parent's lock is held from _prepare to _parent or _child. */
void listener_fork_prepare(void);
void listener_fork_parent(void);
void listener_fork_child(Session *current);
