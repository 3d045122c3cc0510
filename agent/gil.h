/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * How the agent's own threads come to the GIL: not any more once the interpreter ends, and never so
 * that a fork at that moment harms the child.
 *
 * PyGILState_Ensure() after the interpreter's end is a segmentation fault, and a thread cannot ask
 * and go in one step. So those on their way are counted, and the end waits for them. Who has been in
 * once is CPython's to stop, as it stops daemon threads.
 *
 * PyGILState_Ensure() also enters its new thread state into the interpreter's list under a lock of
 * the runtime, and without the GIL. Up to 3.11 os.fork() takes that lock in the child before it has
 * made it anew: a fork at that moment leaves a child that hangs for good. So the state is made here,
 * under a lock that fork waits for where it must, and only then the GIL is asked for.
 */

#include <Python.h>

#include <stdbool.h>

/* The one that PyGILState_Ensure() enters, or NULL where it cannot be told. Any thread. */
PyInterpreterState *gil_main_interpreter(void);

/* At the first installation, GIL held. 0, or -1 with an exception set. */
int gil_setup(void);

/* Takes the GIL, to be given back by gil_give(). False, without it, when the interpreter ends. Any
 * thread that has no thread state. */
bool gil_take(PyThreadState **ret);

/* The thread state goes, and with it the GIL. */
void gil_give(PyThreadState *state);

/* The interpreter ends: nobody new, and nobody is on the way any more. GIL not held. */
void gil_close(void);

/* Around a fork; in the child, of those on their way none is here. */
void gil_fork_prepare(void);
void gil_fork_parent(void);
void gil_fork_child(void);
