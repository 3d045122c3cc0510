/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* How manholed comes to its privileged half, and loses what privilege it has itself. */

typedef enum PrivBackend {
        PRIV_BACKEND_IN_PLACE, /* an ordinary user: done by ourselves */
        PRIV_BACKEND_CHILD,    /* root with capabilities: a child of ours has them from now on */
        PRIV_BACKEND_SERVICE,  /* root without capabilities: manholed-priv.socket has them */
} PrivBackend;

/* Chooses the way. With PRIV_BACKEND_CHILD *ret_fd is the channel (the caller's), else -1. All
 * capabilities of this process are gone afterwards. 0 or negative errno. */
int priv_start(PrivBackend *ret_backend, int *ret_fd);

/* Connects to the service's socket. 0 or negative errno. */
int priv_start_connect(int *ret_fd);

/* Keeps of this process's capabilities those in @mask (bits of capabilities(7)) and of its
 * bounding set too, for good. 0 or negative errno. */
int priv_keep_capabilities(unsigned mask);
