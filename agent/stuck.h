/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What can be said of every thread while the interpreter is not to be had: Python stacks as
 * faulthandler sees them (dump.h), in the words of a dump with the GIL, with the kernel's account of
 * each thread beside them. Needs no GIL; any thread of ours.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/dump.h"
#include "agent/task.h"

typedef struct Stuck {
        char *text; /* owned */
        size_t n_text;
        Task *tasks; /* owned: every thread of the process */
        size_t n_tasks;
        Dump dump;
} Stuck;

#define STUCK_INIT ((Stuck){})

/* Gets ready to do without the GIL: once a process, and from MANHOLE_DUMP_LIMIT the size above which
 * a process is not copied unless asked for. GIL held. */
void stuck_setup(void);

/* Forgets whose turn it is. Child after fork. */
void stuck_fork_child(void);

/* @always: whatever the size of the process. @since_ns: what was begun for somebody else since then
 * (clock.h) will do as well. 0 or -ENOMEM. */
int stuck_take(bool always, int64_t since_ns, Stuck *ret);

/* Also waits for what is left of the dump: see dump_done(). */
void stuck_done(Stuck *s);

/* Notes in @tasks which threads the text of a dump speaks of, as Python knows them. */
void stuck_identify(const char *text, size_t n, Task *tasks, size_t n_tasks);
