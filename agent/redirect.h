/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The routers in `sys`: sys.stdin, stdout, stderr, their dunder twins, and sys.displayhook. They
 * are there only while consoles exist, and are taken out again only where nobody has put something
 * else in their place. GIL held throughout.
 */

/* One console more. 0, or -1 with an exception set. */
int redirect_begin(void);

/* One console less; the last one takes the routers out. */
void redirect_end(void);

/* Takes the routers out whatever the count: end of the process, or a child after fork. */
void redirect_reset(void);
