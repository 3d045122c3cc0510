/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Runs what a client's user wants to be run: interruptible, and with the signal mask of the main thread.
 * Nothing else of a console runs user code, but for the __repr__ and __str__ of what is shown. Console
 * thread, GIL held.
 */

#include "agent/client.h"

/* Evaluates @code in the console's namespace, and awaits what it gives where it says so. NULL with an
 * exception set; KeyboardInterrupt also where it must not begin. */
PyObject *usercode_run(Client *c, PyObject *code);

/* Likewise calls @function with that namespace. */
PyObject *usercode_call(Client *c, PyObject *function);
