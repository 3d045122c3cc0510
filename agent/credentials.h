/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * manhole.get_peercred() and manhole.check_credentials(), and what an application puts in their
 * place. Theirs come after the native check (peer.h), before a byte is written: they can refuse a
 * client, never let one in.
 */

#include <Python.h>

#include <stdbool.h>

#include "agent/session.h"

/* get_peercred(socket) -> (pid, uid, gid). GIL held. */
PyObject *credentials_get_peercred(PyObject *self, PyObject *socket);

/* check_credentials(socket) -> (pid, uid, gid), or SuspiciousClient. GIL held. */
PyObject *credentials_check(PyObject *self, PyObject *socket);

/* Whether the application has something to say about who gets in. Any thread. */
bool credentials_replaced(void);

/* Asks it about a session, in a thread of its own that answers by session_judge(). I/O thread. 0 or
 * negative errno. */
int credentials_ask(Session *s);
