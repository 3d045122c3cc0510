/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/watcher.h"

#include <errno.h>
#include <search.h>
#include <stdint.h>
#include <stdlib.h>

#include "daemon/access.h"
#include "daemon/manager.h"
#include "lib/cleanup.h"

/* What waits to be read by a client before it counts as behind; a list may be longer. */
#define UNREAD_MAX (256U * 1024U)

/* A target as the client knows it. */
typedef struct Told {
        const Target *target; /* borrowed */
        uint64_t digest;      /* of what was said of it */
} Told;

static int told_compare(const void *a, const void *b) {
        const Told *x = a, *y = b;

        return ((uintptr_t)x->target > (uintptr_t)y->target) - ((uintptr_t)x->target < (uintptr_t)y->target);
}

static Told *told_find(const Watcher *w, const Target *t) {
        Told key = { .target = t };
        Told **node = tfind(&key, &w->told, told_compare);

        return node ? *node : NULL;
}

static int told_add(Watcher *w, const Target *t, uint64_t digest) {
        Told *told = malloc(sizeof(*told));

        if (!told)
                return -ENOMEM;
        *told = (Told){ t, digest };
        if (!tsearch(told, &w->told, told_compare)) {
                free(told);
                return -ENOMEM;
        }
        return 0;
}

static void told_remove(Watcher *w, Told *told) {
        (void)tdelete(told, &w->told, told_compare);
        free(told);
}

static void told_forget_all(Watcher *w) {
        tdestroy(w->told, free);
        w->told = NULL;
}

/* FNV-1a of what List says. */
static uint64_t digest_of(json_t *target) {
        _cleanup_free_ char *text = json_dumps(target, JSON_COMPACT);
        uint64_t digest = 0xcbf29ce484222325U;

        for (const char *p = text ?: ""; *p; p++)
                digest = (digest ^ (unsigned char)*p) * 0x100000001b3U;
        return digest;
}

static bool may_see(const Watcher *w, const Target *t) {
        return access_decide(w->manager, w->client, t, POLICY_OBSERVE).allowed;
}

static void watcher_on_named(NameWait *wait, void *userdata);

/* A name that is being asked for is news when it comes. */
static void await_name(Watcher *w, json_t *target) {
        uid_t uid = (uid_t)json_integer_value(json_object_get(target, "uid"));

        if (!w->name_wait.names && json_is_null(json_object_get(target, "user")))
                (void)names_wait(w->manager->names, &w->name_wait, uid, watcher_on_named, w);
}

/* Nothing is remembered of a client that has missed something: it begins anew. */
static void fall_behind(Watcher *w) {
        w->behind = true;
        told_forget_all(w);
}

static void say(Watcher *w, const char *event, json_t *target) {
        await_name(w, target);
        client_continue(w->client, json_pack("{s:s, s:O}", "event", event, "target", target));
        if (!w->client->ended && client_unread(w->client) > UNREAD_MAX)
                fall_behind(w);
}

static void say_list(Watcher *w) {
        Manager *m = w->manager;
        json_t *targets = json_array();
        Target *t;

        TAILQ_FOREACH(t, &m->registry.targets, link) {
                json_t *target;

                if (t->state == TARGET_UNKNOWN || !may_see(w, t))
                        continue;
                target = access_target_json(m, t);
                if (told_add(w, t, digest_of(target)) == 0)
                        (void)json_array_append(targets, target);
                await_name(w, target);
                json_decref(target);
        }
        client_continue(w->client, json_pack("{s:s, s:o}", "event", "list", "targets", targets));
}

static void watcher_look(Watcher *w, Target *t, json_t *target, uint64_t digest) {
        Told *told = told_find(w, t);

        if (!may_see(w, t)) {
                if (told) {
                        told_remove(w, told);
                        say(w, "removed", target);
                }
        } else if (!told) {
                if (told_add(w, t, digest) == 0)
                        say(w, "added", target);
        } else if (told->digest != digest) {
                told->digest = digest;
                say(w, "changed", target);
        }
}

void watchers_look(Manager *m, Target *t) {
        Watcher *w = TAILQ_FIRST(&m->watchers), *next;
        json_t *target;
        uint64_t digest;

        /* One that is being looked at is no news yet. */
        if (!w || t->state == TARGET_UNKNOWN)
                return;
        target = access_target_json(m, t);
        digest = digest_of(target);
        for (; w; w = next) {
                next = TAILQ_NEXT(w, link); /* a client may end when it is told */
                if (!w->behind)
                        watcher_look(w, t, target, digest);
        }
        json_decref(target);
}

void watchers_forget(Manager *m, Target *t) {
        Watcher *w = TAILQ_FIRST(&m->watchers), *next;
        json_t *target = w ? access_target_json(m, t) : NULL;

        for (; w; w = next) {
                Told *told = told_find(w, t);

                next = TAILQ_NEXT(w, link);
                if (told) {
                        told_remove(w, told);
                        say(w, "removed", target);
                }
        }
        json_decref(target);
}

void watchers_review(Manager *m) {
        Target *t;

        TAILQ_FOREACH(t, &m->registry.targets, link)
                watchers_look(m, t);
}

static void watcher_on_named(NameWait *wait, void *userdata) {
        watchers_review(((Watcher *)userdata)->manager);
}

void watcher_drained(Watcher *w) {
        if (!w->behind)
                return;
        w->behind = false;
        client_continue(w->client, json_pack("{s:s}", "event", "overflow"));
        if (!w->client->ended)
                say_list(w);
}

int watcher_new(Manager *m, Client *c) {
        Watcher *w;
        int r = quota_charge(&m->watchers_of, c->peer.uid);

        if (r != 0)
                return r;
        w = calloc(1, sizeof(*w));
        if (!w) {
                quota_release(&m->watchers_of, c->peer.uid);
                return -ENOMEM;
        }
        *w = (Watcher){ .manager = m, .client = c };
        c->watcher = w;
        TAILQ_INSERT_TAIL(&m->watchers, w, link);
        say_list(w);
        return 0;
}

void watcher_free(Watcher *w) {
        names_wait_cancel(&w->name_wait);
        quota_release(&w->manager->watchers_of, w->client->peer.uid);
        TAILQ_REMOVE(&w->manager->watchers, w, link);
        told_forget_all(w);
        free(w);
}
