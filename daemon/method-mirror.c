/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>

#include "daemon/errors.h"
#include "daemon/manager.h"
#include "daemon/method.h"
#include "daemon/session-access.h"

static Session *find_watchable(Manager *m, Client *c, json_t *parameters) {
        Session *s = session_access_find_for(m, c, parameters, POLICY_WATCH);

        if (!s)
                return NULL;
        if (s->state != SESSION_RELAYING) {
                client_error(c, ERROR_NO_SUCH_SESSION, "reason", "the session is not open yet");
                return NULL;
        }
        if (s->n_mirrors >= MIRRORS_MAX) {
                client_error(c, ERROR_TOO_MANY_SESSIONS, "reason", "the session is watched by as many as may");
                return NULL;
        }
        return s;
}

static void mirror(Manager *m, Client *c, json_t *parameters) {
        bool framed = json_is_true(json_object_get(parameters, "framed"));
        const char *user, *rest;
        char number[16];
        Session *s;
        Mirror *mirror;
        size_t n_rest;
        int fd;

        if (!client_may_upgrade(c))
                return;
        s = find_watchable(m, c, parameters);
        if (!s)
                return;
        user = names_get(m->names, c->peer.uid);
        (void)snprintf(number, sizeof(number), "%u", (unsigned)c->peer.uid);
        switch (mirror_new(&m->mirror_host, s, &c->peer, user ?: number, framed, &mirror)) {
        case 0:
                break;
        case -ENOMEM:
                client_error(c, ERROR_TOO_MANY_SESSIONS, "reason", "the daemon is out of memory");
                return;
        default:
                client_error(c, ERROR_RECORDER_UNAVAILABLE, "reason", "it cannot be recorded who watches");
                return;
        }
        TAILQ_INSERT_TAIL(&m->mirrors, mirror, link);
        if (client_upgrade(c, json_pack("{s:o, s:b}", "session", session_access_json(m, s), "framed", framed), &fd,
                           &rest, &n_rest) < 0) {
                mirror_end(mirror);
                return;
        }
        /* The connection is still one; it has only changed hands. */
        mirror->charged = quota_charge(&m->connections, c->peer.uid) == 0;
        mirror_begin_consume(mirror, fd);
}

const Method method_mirror = {
        "org.manholed.Broker.Mirror",
        { { "session", JSON_STRING }, { "framed", JSON_TRUE } },
        mirror,
        true,
};
