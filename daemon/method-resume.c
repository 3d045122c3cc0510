/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>

#include "daemon/access.h"
#include "daemon/errors.h"
#include "daemon/manager.h"
#include "daemon/method.h"
#include "daemon/session-access.h"
#include "daemon/session-linger.h"

/* Only the same user: what is typed stands in the record under that name. And only if the policy still
 * says yes: it may have changed since. */
static bool may_resume(Manager *m, Client *c, const Session *s, const char **ret_reason) {
        PolicyVerdict verdict = session_access_decide_anew(m, c, s, POLICY_CONTROL);

        *ret_reason = c->peer.uid == s->facts.peer.uid ? verdict.rule : "the session is another user's";
        return c->peer.uid == s->facts.peer.uid && verdict.allowed;
}

static Session *find_resumable(Manager *m, Client *c, json_t *parameters) {
        const char *id = json_string_value(json_object_get(parameters, "session")), *reason;
        Session *s;

        if (!id) {
                client_error(c, ERROR_INVALID_PARAMETER, "parameter", "session");
                return NULL;
        }
        s = session_access_find(m, id);
        if (!s || s->state != SESSION_RELAYING) {
                client_error(c, ERROR_NO_SUCH_SESSION, "reason", "no open session has this id");
                return NULL;
        }
        if (!may_resume(m, c, s, &reason)) {
                session_access_record_denied(m, c, s, reason);
                client_error(c, ERROR_NOT_AUTHORIZED, "reason", reason);
                return NULL;
        }
        switch (session_take_over(s, &c->peer)) {
        case 0:
                return s;
        case -EBUSY:
                client_error(c, ERROR_NO_SUCH_SESSION, "reason", "the session is not one that can be taken up again");
                return NULL;
        default:
                client_error(c, ERROR_RECORDER_UNAVAILABLE, "reason", "it cannot be recorded that the session goes on");
                return NULL;
        }
}

static void resume(Manager *m, Client *c, json_t *parameters) {
        const char *rest;
        size_t n_rest;
        Session *s;
        int fd;

        if (!client_may_upgrade(c))
                return;
        s = find_resumable(m, c, parameters);
        if (!s)
                return;
        if (client_upgrade(c, json_pack("{s:o, s:b, s:I, s:s, s:o, s:I}", "session", session_access_json(m, s), "framed",
                                        s->facts.framed, "request", (json_int_t)s->facts.console_id, "recording",
                                        m->recorder->description, "others", session_access_others_json(m, s),
                                        "missed", (json_int_t)backlog_missed(&s->backlog)),
                           &fd, &rest, &n_rest) < 0)
                return; /* it waits on */
        /* The connection is still one; it has only changed hands. */
        s->charged = quota_charge(&m->connections, s->facts.peer.uid) == 0;
        session_resume_consume(s, fd, rest, n_rest);
}

const Method method_resume = { "org.manholed.Broker.Resume", { { "session", JSON_STRING } }, resume, true };
