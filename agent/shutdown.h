/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The end of the process, and of a thread that Python's threading has never heard of.
 * GIL held throughout.
 */

#include <Python.h>

/* Makes the interpreter wait at its end for consoles that are open: wraps threading._shutdown, again
 * if something else (eventlet) has replaced it. Where threading is not imported there are none yet. Never
 * fails; what cannot be done is left. */
void shutdown_wrap(void);

/* The atexit handler: waits for consoles, removes the socket, ends every client. */
PyObject *shutdown_at_exit(PyObject *self, PyObject *args);

/* Has the atexit handler run in a child of multiprocessing too, which leaves by os._exit(). Child after
 * fork. */
void shutdown_register_multiprocessing(void);

/* Forgets what threading, gevent and eventlet keep for the calling thread, which ends. */
void shutdown_forget_thread(void);
