/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The application's signal that opens a manhole (activate_on, oneshot_on): one at a time. The handler
 * that was there before comes back, unless somebody has replaced ours. GIL held throughout.
 */

#include <Python.h>

/* "USR1", "SIGUSR1" or a number. 0 with an exception set; @name is the option's. */
int signals_parse(const char *name, PyObject *value);

/* Puts a handler in; the last one goes. -1 with an exception set: then nothing has changed. */
int signals_replace(const char *name, int number, PyObject *handler);

/* Takes it out. Only the main thread can; in another one the log says so. */
void signals_restore(void);
