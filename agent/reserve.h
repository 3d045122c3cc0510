/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A descriptor that is kept for the client who comes when the process has no other: given up to accept
 * it, and taken back when there is one again. Under the I/O thread's lock, or in a child after fork. No
 * Python API.
 */

/* Takes one, unless one is kept. Without any it is tried again when something was closed. */
void reserve_keep(void);

/* As accept4(), close-on-exec and non-blocking, and with the one that is kept if need be. A descriptor, or
 * negative errno. */
int reserve_accept(int listening_fd);

/* Nobody is accepted any more. */
void reserve_release(void);
