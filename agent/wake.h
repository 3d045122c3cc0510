/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Wakes the I/O thread: something waits to be sent, or is to change. No Python API.
 */

/* The descriptor that polls readable when it has been rung; owned here. Negative errno without one. */
int wake_open(void);
void wake_close(void);

/* Any thread. Nothing when it is not open. */
void wake_ring(void);

/* I/O thread, before it looks at what may have changed: what comes later rings again. */
void wake_clear(void);

/* Child after fork. */
void wake_fork_child(void);
