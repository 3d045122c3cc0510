/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Which thread has the GIL, and which ones wait for it, at the moment of asking. Nothing says so
 * without the GIL: it is read from CPython's own account, `struct _gil_runtime_state`, which begins
 * alike since 3.7. Where it is found once, by what it must hold while we have the GIL; where it is not,
 * nothing is said. Whoever waits sleeps in a futex within it.
 */

#include <stddef.h>
#include <stdint.h>

#include "agent/task.h"

/* Looks for it, once a process. GIL held; leaves no exception. */
void holder_setup(void);

/* The thread that has the GIL, as Python knows it; 0 when nobody has, or it is not known. Any thread;
 * the GIL is not needed. */
uintptr_t holder_thread_id(void);

/* Notes in tasks that are identified which has the GIL, and in all which wait for it. Any thread. */
void holder_mark(Task *tasks, size_t n_tasks);
