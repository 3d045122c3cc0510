/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Notices that a peer is gone for good, also while nothing is read from it or written to it. End of
 * file does not tell: a peer that has merely said all (shutdown(2)) still listens.
 *
 * One epoll(7) descriptor watches all of them: a socket that is asked for no event at all still
 * reports EPOLLHUP, which libevent cannot be asked for.
 */

#include <event2/event.h>

typedef struct Hangups Hangups;

/* Embedded in whoever watches. Zeroed memory is idle. */
typedef struct Hangup {
        Hangups *hangups; /* borrowed; NULL when idle */
        int fd;           /* borrowed */
        void (*gone)(struct Hangup *hangup);
} Hangup;

int hangups_new(struct event_base *loop, Hangups **ret);
void hangups_free(Hangups *h);

/* @gone is called once, from the loop; the hangup is idle then. The descriptor must stay open until
 * that, or until hangup_cancel(). 0 or negative errno. */
int hangup_watch(Hangups *hangups, Hangup *h, int fd, void (*gone)(Hangup *hangup));
void hangup_cancel(Hangup *h);
