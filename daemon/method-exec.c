/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/access.h"
#include "daemon/errors.h"
#include "daemon/execution.h"
#include "daemon/manager.h"
#include "daemon/method.h"
#include "daemon/session-access.h"

static void exec_ready(Session *s, void *userdata) {
        Client *c = userdata;
        Manager *m = c->host->userdata;
        const char *code = json_string_value(json_object_get(c->call.parameters, "code"));

        /* From here on the session has a client of its own, whose end is its end. */
        c->session = NULL;
        if (!s->facts.framed) {
                client_error(c, ERROR_UNSUPPORTED, "reason", "the process has the pure-Python manhole, which runs "
                                                             "code in a console only");
                session_end(s, "it does not speak the console protocol");
                return;
        }
        client_continue(c, json_pack("{s:s, s:s}", "session", s->facts.id, "recording", m->recorder->description));
        if (c->ended) {
                session_end(s, "client lost");
                return;
        }
        if (execution_new(c, s, code, manager_on_execution_ended, m, &c->execution) < 0) {
                client_error(c, ERROR_SESSION_ENDED, "reason", "the daemon is out of memory");
                session_end(s, "out of memory");
        }
}

static void exec_failed(Session *s, const char *error, const char *reason, void *userdata) {
        Client *c = userdata;

        c->session = NULL;
        client_error(c, error, "reason", reason);
}

static void exec(Manager *m, Client *c, json_t *parameters) {
        SessionWishes wishes = { .client_fd = c->fd, .frames = true,
                                 .reason = json_string_value(json_object_get(parameters, "reason")) };
        Target *t;

        if (!client_may_continue(c))
                return;
        if (!json_is_string(json_object_get(parameters, "code"))) {
                client_error(c, ERROR_INVALID_PARAMETER, "parameter", "code");
                return;
        }
        t = access_find_target(m, c, parameters);
        if (t && access_allows(m, c, t, POLICY_CONTROL) && access_has_agent(c, t))
                session_access_open(m, c, t, wishes, (SessionClient){ exec_ready, exec_failed, c });
}

const Method method_exec = {
        "org.manholed.Broker.Exec",
        { { "target", JSON_STRING }, { "code", JSON_STRING }, { "reason", JSON_STRING } },
        exec,
};
