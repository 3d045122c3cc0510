/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/access.h"
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

/* The reply is the session's to write: whoever has it has a session that outlives us. */
static void attach_hand_over(Manager *m, Client *c, Session *s, struct evbuffer *reply) {
        const char *rest;
        size_t n_rest;
        int fd;

        if (client_hand_over(c, json_pack("{s:s, s:o, s:b, s:s, s:o}", "session", s->facts.id, "target",
                                          access_target_json(m, s->target), "framed", s->facts.framed, "recording",
                                          m->recorder->description, "others", session_access_others_json(m, s)),
                             reply, &fd, &rest, &n_rest) < 0) {
                session_end(s, "out of memory");
                return;
        }
        /* The connection is still one; it has only changed hands. */
        if (quota_charge(&m->connections, s->facts.peer.uid) == 0)
                s->charged = true;
        session_relay_consume(s, fd, reply, rest, n_rest);
}

static void attach_ready(Session *s, void *userdata) {
        Manager *m = userdata;
        Client *c = client_of_session(m, s);
        struct evbuffer *reply = evbuffer_new();

        /* From here on the session stands on its own: the client's end is not its end. */
        c->session = NULL;
        if (reply) {
                attach_hand_over(m, c, s, reply);
                evbuffer_free(reply);
        } else
                session_end(s, "out of memory");
}

static void attach_failed(Session *s, const char *error, const char *reason, void *userdata) {
        Client *c = client_of_session(userdata, s);

        if (!c)
                return;
        c->session = NULL;
        client_error(c, error, "reason", reason);
}

static void attach(Manager *m, Client *c, json_t *parameters) {
        SessionWishes wishes = { .client_fd = c->fd,
                                 .frames = json_is_true(json_object_get(parameters, "framed")),
                                 .linger = json_is_true(json_object_get(parameters, "linger")),
                                 .reason = json_string_value(json_object_get(parameters, "reason")) };
        Target *t;

        if (!client_may_upgrade(c))
                return;
        t = access_find_target(m, c, parameters);
        if (t && access_allows(m, c, t, POLICY_CONTROL))
                session_access_open(m, c, t, wishes, (SessionClient){ attach_ready, attach_failed, m });
}

const Method method_attach = {
        "org.manholed.Broker.Attach",
        { { "target", JSON_STRING }, { "framed", JSON_TRUE }, { "reason", JSON_STRING }, { "linger", JSON_TRUE } },
        attach,
};
