/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Tells when a service or a container begins: its cgroup is made. No other event of the kernel tells of a
 * new mount namespace. Watches the tree of cgroups by inotify, never reads what is in them.
 */

#include <event2/event.h>

typedef struct Cgroups Cgroups;

/* @made is called when cgroups have been made; often once for several. Without a tree of cgroups there is
 * nothing to watch, and nothing ever happens. 0 or negative errno. */
int cgroups_new(struct event_base *loop, const char *const *roots, void (*made)(void *userdata), void *userdata,
                Cgroups **ret);
void cgroups_free(Cgroups *c);

/* Where the trees may be: cgroups(7). */
extern const char *const cgroups_roots[];
