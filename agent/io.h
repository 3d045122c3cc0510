/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The I/O thread: accepts, checks, reads and sends for every client of this process.
 *
 * One native thread that calls no Python API and never wants the GIL, so that a client is answered
 * whatever the interpreter does. It sleeps in epoll_wait() and has nothing to do while nobody is
 * connected. There is one per process, started by the first endpoint and gone when neither that nor a
 * client is left.
 *
 * Its lock comes after the listener's and before a session's. Only the I/O thread changes the list of
 * sessions.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/endpoint.h"
#include "agent/service.h"
#include "agent/session.h"

/* Serves who comes to this endpoint, and starts the thread if need be. There is none yet. Any thread. 0
 * or negative errno. */
int io_listen_consume(const Endpoint *endpoint, const Service *service);

/* Removes and closes the endpoint, if there is one; clients that are connected stay. Any thread. */
void io_unlisten(void);

/* Whether there is an endpoint. Any thread. */
bool io_listens(void);

/* Whether consoles keep the process alive: as the latest endpoint was to be served. Any thread. */
bool io_waits_for_consoles(void);

/* Serves a session whose connection did not come through an endpoint. Any thread. 0 or negative errno. */
int io_adopt(Session *s);

/* As Python and as the kernel know the thread. False where no endpoint is open. GIL not held. */
bool io_thread(unsigned long *ret_id, pid_t *ret_native_id);

/* Gives every console a copy of what another thread has written. Any thread. */
void io_copy(const void *data, size_t n, bool is_stderr);

/* Closes the endpoint, tells and closes every client, and waits for the thread until then (clock_now_ns()).
 * GIL not held. */
void io_stop(int64_t until_ns);

/* Forgets parent's endpoint, clients and lock. @current is the session of the calling thread, if it has
 * one. Child after fork; the parent's lock is held from _prepare to _parent or _child. */
void io_fork_prepare(void);
void io_fork_parent(void);
void io_fork_child(Session *current);
