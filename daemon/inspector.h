/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Finds out what a socket file is: alive or dead, whose, and what serves it, without opening a
 * console in anybody's process. Follows the process to its end, and takes the file away when both
 * are surely dead.
 */

#include <event2/event.h>

#include "daemon/names.h"
#include "daemon/priv.h"
#include "daemon/registry.h"
#include "daemon/socket-file.h"
#include "daemon/target.h"

typedef struct InspectorEvents {
        /* The target is about to be freed. */
        void (*gone)(Target *t, void *userdata);
        /* A socket file is surely stale: it has been removed, and `gone` follows, or it is left. */
        void (*stale)(Target *t, bool removed, void *userdata);
        /* A look at the target is over. */
        void (*looked)(Target *t, void *userdata);
        /* No look is pending any more. */
        void (*settled)(void *userdata);
} InspectorEvents;

typedef struct Inspector {
        struct event_base *loop; /* borrowed, as all here */
        Priv *priv;
        Names *names;
        Registry *registry;
        const InspectorEvents *events;
        void *userdata;
        RemoveStale remove_stale; /* else: inspector_set_remove_stale() */
        TAILQ_HEAD(, Target) queue; /* a descriptor for each look of a large machine would be too many */
        unsigned n_probed;
        struct event *pump; /* owned */
} Inspector;

/* @i has all that is borrowed. 0 or -ENOMEM. */
int inspector_init(Inspector *i);
/* No target is left. */
void inspector_done(Inspector *i);

/* What to do with stale sockets from now on, those that are known already included. */
void inspector_set_remove_stale(Inspector *i, RemoveStale remove_stale);

/* Begins the look at a target that the registry has just taken. */
void inspector_begin(Inspector *i, Target *t);

/* Looks again at a target whose state may have changed without an event: a socket that was closed,
 * a process that changed its uids. What was seen a moment ago is believed. */
void inspector_look_again(Inspector *i, Target *t);

/* Somebody waits for the look at this target: it goes before all others'. */
void inspector_hasten(Target *t);

/* Takes a target out of the registry and frees it. */
void inspector_forget(Inspector *i, Target *t);

/* Lets go of a foreign folder (scanner-foreign.h) that no process serves a socket in. */
void inspector_release_folder(Inspector *i, Folder *f);

/* One thing less that is pending. */
void inspector_settled(Inspector *i);

/* Opens the target's file again, if it still is the same: an O_PATH descriptor, the caller's, or
 * negative errno (-ESTALE when another file has its name, -EAGAIN when its folder is not open now). */
int inspector_open(const Target *t);
