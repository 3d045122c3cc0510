/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Finds the ids behind the names in a policy. A name service may wait for a network (getpwnam_r(3)), so
 * that a thread asks it while the loop goes on; at the start, where nobody waits yet, it is asked in
 * place.
 */

#include <event2/event.h>

#include "daemon/policy.h"

typedef struct Resolver Resolver;

/* In place. What the name service does not know stays unknown. */
void resolve_policy(Policy *policy);

/* @done is called from the loop and gets the policy back; it is the callee's. */
int resolver_new(struct event_base *loop, void (*done)(Policy *policy, void *userdata), void *userdata,
                 Resolver **ret);
/* What is under way is dropped. */
void resolver_free(Resolver *r);

/* Takes the policy's content over if it returns 0; else negative errno. Only one at a time. */
int resolver_begin(Resolver *r, Policy *policy);
bool resolver_is_busy(const Resolver *r);
