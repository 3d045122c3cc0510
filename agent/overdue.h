/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * How long a client waits for stacks that need the GIL. A wish for them (session.h) is granted by
 * whoever is first: the thread that gets the GIL, or, once it is overdue, one that does without.
 * No Python API.
 */

#include <stdbool.h>
#include <stddef.h>

#include "agent/session.h"
#include "agent/task.h"

/* A wish begins; @always as for stuck_take(). @at_once: nobody waits for the GIL. Under the session's lock. */
void overdue_begin(Wish *w, bool always, bool at_once);

/* Does what is overdue. Says after how many milliseconds to look again; -1: not at all. I/O thread. */
int overdue_serve(Session *s);

/* Whether they are still wished for, and by a client that is still there. Any thread. */
bool overdue_waits(Session *s, const Wish *w);

/* Who has stacks with the GIL asks whether they are still wished for: true only once, and then
 * nobody else sends any. Any thread. */
bool overdue_claim(Session *s, Wish *w);

/* Whether stacks without the GIL are on their way for @w. Any thread. */
bool overdue_coming(Session *s, const Wish *w);

/* Waits until they are not any more. GIL not held. */
void overdue_wait(Session *s, const Wish *w);

/* Answers the request `stacks`; ends the wish, which is the caller's. GIL not held. */
void overdue_answer(Session *s, bool gil, const char *text, size_t n_text, const Task *tasks,
                    size_t n_tasks);
