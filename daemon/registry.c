/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/registry.h"

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <string.h>

#include "lib/parse.h"

/* Far more than one user's processes, far less than what would hurt. */
#define TARGETS_PER_OWNER 32768U

static int target_compare(const void *a, const void *b) {
        const Target *x = a, *y = b;

        if (x->folder != y->folder)
                return x->folder < y->folder ? -1 : 1;
        return strcmp(x->name, y->name);
}

void registry_init(Registry *r) {
        *r = (Registry){};
        TAILQ_INIT(&r->targets);
        quota_init(&r->owners, TARGETS_PER_OWNER);
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

bool registry_matches(const Target *t, const char *name) {
        pid_t pid;

        if (name[0] == '/')
                return strcmp(t->path, name) == 0;
        if (parse_pid(name, &pid) == 0)
                return t->pid == pid;
        return (t->unit && name_is_unit(name, t->unit)) || (t->has_process && strcmp(t->comm, name) == 0);
}

static unsigned resolve_among(Registry *r, PolicySubject subject, bool visible, const char *name, Target **ret) {
        unsigned n = 0;
        Target *t;

        TAILQ_FOREACH(t, &r->targets, link) {
                if (!registry_matches(t, name) ||
                    policy_decide(subject, target_policy_object(t), POLICY_OBSERVE).allowed != visible)
                        continue;
                if (n++ == 0)
                        *ret = t;
        }
        return n;
}

int registry_resolve(Registry *r, PolicySubject subject, const char *name, Target **ret) {
        unsigned n;

        if (!*name)
                return REGISTRY_E_UNKNOWN;
        n = resolve_among(r, subject, true, name, ret);
        if (n > 0)
                return n == 1 ? 0 : REGISTRY_E_AMBIGUOUS;
        /* One that may not be seen is still found, so that the refusal can be told and recorded:
         * that a socket exists is no secret. */
        return resolve_among(r, subject, false, name, ret) > 0 ? 0 : REGISTRY_E_UNKNOWN;
}
