/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A coroutine of a console, as the application's loop runs it: one task among its others.
 *
 * The loop's thread is the application's. While it is in the coroutine, what is printed goes to the
 * session's client, but never waits for room; nothing can be read; and no exception leaves, because
 * SystemExit or KeyboardInterrupt would end the loop. GIL held throughout.
 */

#include "agent/client.h"

/* A task for @loop that is yet to be begun; @inner is what the user's code made. New reference, or NULL
 * with an exception set. */
PyObject *coroutine_new(Client *c, PyObject *inner, PyObject *loop);

/* What the user's code made, if @object is such a task's coroutine; else @object. Borrowed. */
PyObject *coroutine_inner(PyObject *object);

/* Has the loop begin. 0, or -1 with an exception set. */
int coroutine_begin(PyObject *self);

/* Set under the session's lock when it is over: turn_wait_flag(). */
const bool *coroutine_over(PyObject *self);

/* Raises KeyboardInterrupt in it where it runs code now, else has the loop cancel it. False: there is
 * no loop any more to do so. */
bool coroutine_interrupt(PyObject *self);

/* How it ended: its result, a new reference, or NULL with its exception set. @c gets back what it was
 * given. @interrupted: who cancels it has asked for KeyboardInterrupt. */
PyObject *coroutine_result(PyObject *self, Client *c, bool interrupted);
