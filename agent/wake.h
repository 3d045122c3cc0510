/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Wakes the I/O thread: something waits to be sent, or is to change. No Python API.
 */

/* Has this epoll say so, with a NULL pointer. 0 or negative errno. */
int wake_open(int epoll_fd);
void wake_close(void);

/* Any thread. Nothing when it is not open. */
void wake_ring(void);

/* As wake_ring(), in a moment: what is sent together costs less. */
void wake_ring_soon(void);

/* I/O thread, before it looks at what may have changed: what comes later rings again. */
void wake_clear(void);

/* Child after fork. */
void wake_fork_child(void);
