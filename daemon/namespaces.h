/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The /tmp of processes that have a root folder of their own: containers, and services with mounts of
 * their own. A sweep asks manholed-priv for the processes of every mount namespace, and opens the /tmp
 * of each by one of them.
 *
 * Keeps no descriptor of a folder: one would keep the container from unmounting it.
 */

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/priv.h"

typedef struct Namespaces Namespaces;

typedef struct NamespacesEvents {
        void (*begun)(void *userdata);
        /* The /tmp of a mount namespace, seen through process @pid; @fd is borrowed for the time of the call. */
        void (*found)(uint64_t mount_ns, pid_t pid, int fd, void *userdata);
        /* A sweep is over; @complete: each namespace that there is was found. */
        void (*swept)(bool complete, void *userdata);
} NamespacesEvents;

/* All but @ret is borrowed. 0 or -ENOMEM. */
int namespaces_new(struct event_base *loop, Priv *priv, const NamespacesEvents *events, void *userdata, Namespaces **ret);
void namespaces_free(Namespaces *n);

/* Sweeps now, or again when the sweep under way is over. */
void namespaces_sweep(Namespaces *n);
/* Sweeps soon: once for much that happens in a moment. */
void namespaces_sweep_soon(Namespaces *n);
/* Something may be about to come: sweeps soon and, since nothing tells when it is there, twice more after
 * a while. */
void namespaces_expect(Namespaces *n);

/* No sweep is under way, nor to follow. */
bool namespaces_are_swept(const Namespaces *n);

/* The processes that the sweep under way, or the last one, has found. */
const PrivProcess *namespaces_processes(const Namespaces *n, size_t *ret_n);
