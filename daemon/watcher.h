/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Clients that are told of targets as they come, change and go (method Watch). Each is told of what
 * it may see at that moment, and of what it was told of before.
 *
 * One that does not read holds up nobody and costs a bounded amount of memory: it misses what comes
 * meanwhile, and gets a fresh list when it has read what waits.
 */

#include <stdbool.h>
#include <sys/queue.h>

#include "daemon/client.h"
#include "daemon/names.h"
#include "daemon/target.h"

typedef struct Manager Manager;
typedef struct Watcher Watcher;

typedef TAILQ_HEAD(Watchers, Watcher) Watchers;

/* Of one user; each remembers what it was told. */
#define WATCHERS_PER_USER 16U

struct Watcher {
        TAILQ_ENTRY(Watcher) link;
        Manager *manager; /* borrowed */
        Client *client;   /* borrowed; the call it serves is the watch */
        void *told;     /* tsearch(3) tree of the targets that the client knows; owned */
        bool behind;    /* has missed something */
        NameWait name_wait; /* for the name of a user that it knows by number alone */
};

/* The client watches from now on; it begins with the list. 0, -ENOMEM, or QUOTA_E_EXCEEDED. Ends with the
 * client: watcher_free(). */
int watcher_new(Manager *m, Client *c);
void watcher_free(Watcher *w);

/* The client has read all that waited. */
void watcher_drained(Watcher *w);

/* A look at the target is over, or what List shows of it has changed in another way. */
void watchers_look(Manager *m, Target *t);
/* The target is about to be freed. */
void watchers_forget(Manager *m, Target *t);
/* What clients may see has changed. */
void watchers_review(Manager *m);
