/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What CPython's faulthandler says of every thread, without the GIL.
 *
 * Its signal handler walks the interpreter's structures as they are, and so may crash when they
 * change under it. It therefore runs in a short-lived copy of the process, as fork() would make
 * one, but by a bare clone(): no handler of the application runs, the child's end sends no SIGCHLD
 * and no wait() of the application sees it. The copy writes to memory it shares with us, so that a
 * dump needs no descriptor here. No signal is ever sent.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct DumpShared DumpShared;

typedef struct Dump {
        pid_t child;        /* 0 once it is reaped */
        DumpShared *shared; /* owned: unmapped by dump_done() */
} Dump;

#define DUMP_INIT ((Dump){})

/* Learns faulthandler's handler. Where there is none, there will be no dumps. GIL held; leaves no
 * exception. */
void dump_setup(void);

/* Child after fork, in the C handler: from now on only threads that are here are shown. */
void dump_fork_child(void);

/* Python knows of the fork, and its list is in order again. GIL held. */
void dump_fork_known(void);

/* True in a child whose fork() was a C library's and told Python nothing: the interpreter still lists
 * its parent's threads, of whom nothing may be left in memory. GIL held. */
bool dump_list_is_stale(void);

/* Takes one. Any thread of ours, GIL not needed. 0, or negative errno: -ENOTSUP without a handler. */
int dump_take(Dump *ret);

/* As faulthandler writes it. @ret_cut: the copy did not come to the end. */
const char *dump_text(const Dump *d, size_t *ret_n, bool *ret_cut);

/* Waits for the copy's end: releasing a large one takes time that nobody else need wait for. */
void dump_done(Dump *d);
