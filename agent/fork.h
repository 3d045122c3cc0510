/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A child after fork has none of the agent's threads, and must never answer on its parent's socket
 * or to its parent's clients. The C handler sees every fork() that runs handlers at all, also those
 * of C libraries; the Python one puts the standard streams back.
 */

/* Registers both, once; each calls the function given for it when it has done its own. @then_native may
 * not count on the GIL. GIL held. 0, or -1 with an exception set. */
int fork_setup(void (*then_native)(void), void (*then_python)(void));
