/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * How the agent's own threads come to the GIL: not any more once the interpreter ends.
 *
 * PyGILState_Ensure() after that is a segmentation fault, and a thread cannot ask and go in one step.
 * So those on their way are counted, and the end of the interpreter waits for them. Who has been in
 * once is CPython's to stop, as it stops daemon threads.
 */

#include <Python.h>

#include <stdbool.h>

/* Takes the GIL, to be given back by PyGILState_Release(). False, without it, when the interpreter ends.
 * Any thread that has never had a thread state. */
bool gil_take(PyGILState_STATE *ret);

/* The interpreter ends: nobody new, and nobody is on the way any more. GIL not held. */
void gil_close(void);

/* Child after fork: of those on their way none is here. */
void gil_fork_child(void);
