/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Whose call is next, among those that cost a look at the targets: pure. One is served a turn of the
 * loop, so that the bytes of sessions go in between, and users alternate, so that a crowd of one
 * user's calls is no queue before another's.
 */

#include <sys/queue.h>
#include <sys/types.h>

#include "daemon/client.h"

/* Embedded in its owner; the clients in it are borrowed. */
typedef struct Turns {
        TAILQ_HEAD(, Client) waiting;
        uid_t last; /* who had the last turn */
} Turns;

void turns_init(Turns *t);

/* The client waits from now on, until it leaves: because its turn has come, or because it ends.
 * Leaving does nothing to a client that does not wait. */
void turns_join(Turns *t, Client *c);
void turns_leave(Turns *t, Client *c);

/* The first in line of another user than the last, else the first; NULL when nobody waits. */
Client *turns_next(const Turns *t);
