/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * How many threads run code for clients: there is a limit, and the process waits for them at its end.
 * No Python API; its lock is a leaf.
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/session.h"

/* At a time that took no interrupt and were left to finish. */
#define CONSOLES_LEFT_MAX 64U

/* One begins for @s, if there is room for one more, and ends. Any thread. */
bool consoles_begin(const Session *s);
void consoles_end(const Session *s);

/* One is left to finish, if there is room for one more, and has finished. It keeps the process no longer
 * alive. Any thread. */
bool consoles_begin_left(void);
void consoles_end_left(void);

/* Waits up to @msec until none keeps the process alive. GIL not held. True when it is so. */
bool consoles_wait(int msec);

/* Waits until there is none, or until then (clock_now_ns()). GIL not held. */
void consoles_stop(int64_t until_ns);

/* Child after fork. */
void consoles_fork_child(void);
