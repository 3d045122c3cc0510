/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* All targets, and how a person names one. Owns the targets; knows no descriptor and no event. */

#include <stdbool.h>
#include <sys/queue.h>

#include "daemon/policy.h"
#include "daemon/quota.h"
#include "daemon/target.h"

enum {
        _REGISTRY_E_SUCCESS,
        REGISTRY_E_UNKNOWN,   /* no target answers to the name */
        REGISTRY_E_AMBIGUOUS, /* several do */
        REGISTRY_E_FULL,      /* the owner of the file has too many */
};

typedef TAILQ_HEAD(Targets, Target) Targets;

typedef struct Registry {
        Targets targets; /* in the order they were found */
        void *by_file;   /* tsearch(3) tree by folder and name */
        Quota owners;    /* targets of each file's owner: /tmp is everybody's to fill */
        unsigned n_targets, n_pending;
} Registry;

void registry_init(Registry *r, unsigned max_per_owner);
void registry_done(Registry *r);

/* Takes ownership on success. 0, -ENOMEM or REGISTRY_E_FULL. */
int registry_add(Registry *r, Target *t);
/* Takes the target out; the caller owns it again. */
void registry_remove(Registry *r, Target *t);

Target *registry_find(Registry *r, const Folder *folder, const char *name);

/*
 * The target that @name means to @subject: a pid, the path of a socket, a unit, or the name of a
 * process. Targets that the subject may do something with come first, then those that are meant by more than the
 * name a process gave itself, then those that are neither stale nor untrusted. Without any that may
 * be seen, one that may not is returned, for the policy to refuse. Returns 0, REGISTRY_E_UNKNOWN or
 * REGISTRY_E_AMBIGUOUS; with the latter *ret is one of them.
 */
int registry_resolve(Registry *r, const Policy *policy, PolicySubject subject, const char *name, Target **ret);

/* True if @t answers to @name, in the sense above. */
bool registry_matches(const Target *t, const char *name);
