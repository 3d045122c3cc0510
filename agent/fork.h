/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A child after fork has none of the agent's threads, and must never answer on its parent's socket
 * or to its parent's clients. The C handler sees every fork() that runs handlers at all, also those
 * of C libraries, and has a socket of the child's own opened later if that was asked for; the
 * Python one puts the standard streams back.
 */

/* Registers both, once. GIL held. 0, or -1 with an exception set. */
int fork_setup(void);
