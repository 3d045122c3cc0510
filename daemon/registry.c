/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/registry.h"

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <string.h>

#include "lib/parse.h"

static int target_compare(const void *a, const void *b) {
        const Target *x = a, *y = b;

        if (x->folder != y->folder)
                return x->folder < y->folder ? -1 : 1;
        return strcmp(x->name, y->name);
}

void registry_init(Registry *r, unsigned max_per_owner) {
        *r = (Registry){};
        TAILQ_INIT(&r->targets);
        quota_init(&r->owners, max_per_owner);
}

void registry_done(Registry *r) {
        Target *t;

        while ((t = TAILQ_FIRST(&r->targets))) {
                registry_remove(r, t);
                target_free(t);
        }
        quota_done(&r->owners);
}

int registry_add(Registry *r, Target *t) {
        Target **node;
        int k = quota_charge(&r->owners, t->file.st_uid);

        if (k != 0)
                return k < 0 ? k : REGISTRY_E_FULL;
        node = tsearch(t, &r->by_file, target_compare);
        if (!node) {
                quota_release(&r->owners, t->file.st_uid);
                return -ENOMEM;
        }
        assert(*node == t);
        TAILQ_INSERT_TAIL(&r->targets, t, link);
        r->n_targets++;
        return 0;
}

void registry_remove(Registry *r, Target *t) {
        (void)tdelete(t, &r->by_file, target_compare);
        TAILQ_REMOVE(&r->targets, t, link);
        quota_release(&r->owners, t->file.st_uid);
        r->n_targets--;
        if (t->pending) {
                t->pending = false;
                r->n_pending--;
        }
}

Target *registry_find(Registry *r, const Folder *folder, const char *name) {
        Target key = { .folder = (Folder *)folder, .name = (char *)name };
        Target **node = tfind(&key, &r->by_file, target_compare);

        return node ? *node : NULL;
}

static bool name_is_unit(const char *name, const char *unit) {
        size_t n = strlen(name);

        /* As systemctl(1): a unit without a suffix is a service. */
        return strncmp(unit, name, n) == 0 && (!unit[n] || strcmp(unit + n, ".service") == 0);
}

static bool is_meant(const Target *t, const char *name) {
        pid_t pid;

        if (name[0] == '/')
                return strcmp(t->path, name) == 0;
        if (parse_pid(name, &pid) == 0)
                return t->pid == pid;
        return t->unit && name_is_unit(name, t->unit);
}

bool registry_matches(const Target *t, const char *name) {
        pid_t pid;

        if (is_meant(t, name))
                return true;
        return name[0] != '/' && parse_pid(name, &pid) < 0 && t->has_process && strcmp(t->comm, name) == 0;
}

/*
 * How well a target answers to a name; 0: not at all. Anybody may bind another process's name in a
 * folder that all may write to, and call a process of his own after a unit: neither must come
 * between a person and the one that is meant.
 */
enum {
        ANSWERS = 1,
        ANSWERS_TRUSTED = 2, /* not known to be stale, nor somebody else's */
        ANSWERS_MEANT = 4,   /* by more than the name that a process gives itself */
        ANSWERS_KNOWN = 8, /* to the one who asks: who may do something with it */
};

static unsigned answer_of(const Target *t, const Policy *policy, PolicySubject subject, const char *name) {
        if (!registry_matches(t, name))
                return 0;
        return ANSWERS | (t->state == TARGET_LIVE || t->state == TARGET_UNKNOWN ? ANSWERS_TRUSTED : 0) |
                (is_meant(t, name) ? ANSWERS_MEANT : 0) |
                (policy_allows_anything(policy, subject, target_policy_object(t)) ? ANSWERS_KNOWN : 0);
}

int registry_resolve(Registry *r, const Policy *policy, PolicySubject subject, const char *name, Target **ret) {
        unsigned best = 0, n = 0;
        Target *t;

        if (!*name)
                return REGISTRY_E_UNKNOWN;
        TAILQ_FOREACH(t, &r->targets, link) {
                unsigned answer = answer_of(t, policy, subject, name);

                if (answer > best) {
                        best = answer;
                        n = 0;
                }
                if (answer > 0 && answer == best && n++ == 0)
                        *ret = t;
        }
        if (best == 0)
                return REGISTRY_E_UNKNOWN;
        /* One that may not be seen is still found, so that the refusal can be told and recorded:
         * that a socket exists is no secret. */
        return n > 1 && (best & ANSWERS_KNOWN) ? REGISTRY_E_AMBIGUOUS : 0;
}
