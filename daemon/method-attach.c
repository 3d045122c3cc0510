/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "daemon/access.h"
#include "daemon/descriptors.h"
#include "daemon/errors.h"
#include "daemon/manager.h"
#include "daemon/method.h"
#include "daemon/session-access.h"

static Client *client_of_session(Manager *m, const Session *s) {
        Client *c;

        TAILQ_FOREACH(c, &m->clients, link)
                if (c->session == s)
                        return c;
        return NULL;
}

static void attach_ready(Session *s, void *userdata) {
        Manager *m = userdata;
        Client *c = client_of_session(m, s);
        const char *rest;
        size_t n_rest;
        int fd;

        /* From here on the session stands on its own: the client's end is not its end. */
        c->session = NULL;
        if (client_upgrade(c, json_pack("{s:s, s:o, s:b, s:s, s:o}", "session", s->facts.id, "target",
                                        access_target_json(m, s->target), "framed", s->facts.framed, "recording",
                                        m->recorder->description, "others", session_access_others_json(m, s)),
                           &fd, &rest, &n_rest) < 0) {
                session_end(s, "client lost");
                return;
        }
        /* The connection is still one; it has only changed hands. */
        if (quota_charge(&m->connections, s->facts.peer.uid) == 0)
                s->charged = true;
        session_relay_consume(s, fd, rest, n_rest);
}

static void attach_failed(Session *s, const char *error, const char *reason, void *userdata) {
        Client *c = client_of_session(userdata, s);

        if (!c)
                return;
        c->session = NULL;
        client_error(c, error, "reason", reason);
}

/* A reason stands in one field of one record: longer ones are no reasons. */
#define REASON_MAX 1000U

static bool says_why(const char *reason) {
        return reason && reason[strspn(reason, " \t\r\n")];
}

static void attach(Manager *m, Client *c, json_t *parameters) {
        SessionWishes wishes = { .client_fd = c->fd,
                                 .frames = json_is_true(json_object_get(parameters, "framed")),
                                 .linger = json_is_true(json_object_get(parameters, "linger")),
                                 .reason = json_string_value(json_object_get(parameters, "reason")) };
        Target *t;

        if (!client_may_upgrade(c))
                return;
        if (wishes.reason && strlen(wishes.reason) > REASON_MAX) {
                client_error(c, ERROR_INVALID_PARAMETER, "parameter", "reason");
                return;
        }
        t = access_find_target(m, c, parameters);
        if (!t)
                return;
        if (!access_allows(m, c, t, POLICY_CONTROL))
                return;
        if (m->require_reason && !says_why(wishes.reason)) {
                access_record_denied(m, c, t, "no reason is given");
                client_error(c, ERROR_NOT_AUTHORIZED, "reason",
                             "sessions need a reason here: manholectl attach --reason=TEXT");
                return;
        }
        if (!descriptors_are_left(c->fd, DESCRIPTORS_FOR_SESSIONS)) {
                client_error(c, ERROR_TOO_MANY_SESSIONS, "reason", "the broker has as many sessions as it can serve");
                return;
        }
        switch (quota_charge(&m->sessions_of, c->peer.uid)) {
        case 0:
                break;
        case QUOTA_E_EXCEEDED:
                client_error(c, ERROR_TOO_MANY_SESSIONS, "reason", "this user has too many sessions");
                return;
        default:
                client_error(c, ERROR_TOO_MANY_SESSIONS, "reason", "the daemon is out of memory");
                return;
        }
        if (session_new(&m->session_host, t, &c->peer, wishes,
                        (SessionClient){ attach_ready, attach_failed, m }, &c->session) < 0) {
                quota_release(&m->sessions_of, c->peer.uid);
                client_error(c, ERROR_TARGET_GONE, "reason", "the daemon is out of memory");
                return;
        }
        TAILQ_INSERT_TAIL(&m->sessions, c->session, link);
}

const Method method_attach = {
        "org.manholed.Broker.Attach",
        { { "target", JSON_STRING }, { "framed", JSON_TRUE }, { "reason", JSON_STRING }, { "linger", JSON_TRUE } },
        attach,
};
