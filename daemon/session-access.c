/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/session-access.h"

#include <stdio.h>
#include <string.h>

#include "daemon/access.h"
#include "daemon/descriptors.h"
#include "daemon/errors.h"
#include "daemon/manager.h"
#include "daemon/session-linger.h"

/* Without a target: of a process that is gone, or whose socket is, what it was when it was entered. */
static PolicyObject object_of(const Session *s) {
        return s->target ? target_policy_object(s->target) :
                           (PolicyObject){ .uid = target_policy_uid(&s->facts.ids), .unit = s->target_unit };
}

PolicyVerdict session_access_decide_anew(const Manager *m, Client *c, const Session *s, PolicyMode mode) {
        return policy_decide(&m->policy, access_subject(m, c), object_of(s), mode);
}

PolicyVerdict session_access_decide(const Manager *m, Client *c, const Session *s, PolicyMode mode) {
        if (c->peer.uid == s->facts.peer.uid)
                return (PolicyVerdict){ true, "the session is the user's own" };
        return session_access_decide_anew(m, c, s, mode);
}

Session *session_access_find(Manager *m, const char *id) {
        Session *s;

        TAILQ_FOREACH(s, &m->sessions, link)
                if (strcmp(s->facts.id, id) == 0)
                        return s;
        return NULL;
}

void session_access_record_denied(Manager *m, const Client *c, const Session *s, const char *reason) {
        const char *user = names_get(m->names, c->peer.uid);
        RecordOrigin origin = peer_origin(&c->peer);
        char number[16];
        RecordParties parties = { .client_uid = c->peer.uid, .client_user = user ?: number,
                                  .client_pid = c->peer.pid, .client_origin = &origin,
                                  .target_pid = s->facts.target_pid,
                                  .target_uid = s->facts.ids.euid, .target_comm = s->target_comm,
                                  .target_unit = s->target_unit, .target_gone = !s->target };

        (void)snprintf(number, sizeof(number), "%u", (unsigned)c->peer.uid);
        recorder_post(m->recorder, &(Record){ .event = RECORD_DENIED, .parties = &parties, .reason = reason });
}

Session *session_access_find_for(Manager *m, Client *c, json_t *parameters, PolicyMode mode) {
        const char *id = json_string_value(json_object_get(parameters, "session"));
        char reason[ACCESS_REASON_MAX];
        PolicyVerdict verdict;
        Session *s;

        if (!id) {
                client_error(c, ERROR_INVALID_PARAMETER, "parameter", "session");
                return NULL;
        }
        s = session_access_find(m, id);
        if (!s) {
                client_error(c, ERROR_NO_SUCH_SESSION, "reason", "no open session has this id");
                return NULL;
        }
        verdict = session_access_decide(m, c, s, mode);
        if (!verdict.allowed) {
                (void)snprintf(reason, sizeof(reason), "session %s: %s", s->facts.id, verdict.rule);
                session_access_record_denied(m, c, s, reason);
                client_error(c, ERROR_NOT_AUTHORIZED, "reason", reason);
                return NULL;
        }
        return s;
}

SessionPhase session_access_phase(const Session *s) {
        if (s->state != SESSION_RELAYING)
                return SESSION_STARTING;
        return session_lingers(s) ? SESSION_LINGERING : SESSION_ATTACHED;
}

const char *session_access_phase_name(SessionPhase phase) {
        static const char *const names[_SESSION_PHASE_MAX] = {
                [SESSION_STARTING] = "starting",
                [SESSION_ATTACHED] = "attached",
                [SESSION_LINGERING] = "lingering",
        };

        return names[phase];
}

/* A reason stands in one field of one record: longer ones are no reasons. */
#define REASON_MAX 1000U

static bool says_why(const char *reason) {
        return reason && reason[strspn(reason, " \t\r\n")];
}

void session_access_open(Manager *m, Client *c, Target *t, SessionWishes wishes, SessionClient client) {
        if (wishes.reason && strlen(wishes.reason) > REASON_MAX) {
                client_error(c, ERROR_INVALID_PARAMETER, "parameter", "reason");
                return;
        }
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
        if (session_new(&m->session_host, t, &c->peer, wishes, client, &c->session) < 0) {
                quota_release(&m->sessions_of, c->peer.uid);
                client_error(c, ERROR_TARGET_GONE, "reason", "the daemon is out of memory");
                return;
        }
        TAILQ_INSERT_TAIL(&m->sessions, c->session, link);
}

static const char *state_name(const Session *s) {
        return session_access_phase_name(session_access_phase(s));
}

/* A reply with so many still fits where it waits to be written (FLOW_FIRST_MAX). */
#define OTHERS_MAX 200U

json_t *session_access_others_json(Manager *m, const Session *s) {
        json_t *others = json_array();
        Session *other;

        TAILQ_FOREACH(other, &m->sessions, link)
                if (json_array_size(others) < OTHERS_MAX && other != s && other->facts.joined &&
                    other->facts.target_pid == s->facts.target_pid)
                        (void)json_array_append_new(
                                others, json_pack("{s:s, s:s, s:I, s:o, s:o}", "session", other->facts.id, "state",
                                                  state_name(other), "uid",
                                                  (json_int_t)other->facts.peer.uid, "user",
                                                  access_nullable(names_get(m->names, other->facts.peer.uid)), "since",
                                                  access_time_json(other->facts.since)));
        return others;
}

json_t *session_access_json(Manager *m, const Session *s) {
        return json_pack("{s:s, s:I, s:o, s:i, s:i, s:s, s:o, s:s, s:o, s:f, s:I, s:I, s:i}", "session", s->facts.id, "uid",
                         (json_int_t)s->facts.peer.uid, "user", access_nullable(names_get(m->names, s->facts.peer.uid)), "client",
                         (int)s->facts.peer.pid, "pid", (int)s->facts.target_pid, "comm", s->target_comm, "unit",
                         access_nullable(s->target_unit), "state", state_name(s), "since", access_time_json(s->facts.since), "idle",
                         (double)(recorder_clock() - s->facts.last_input) / 1e6, "input", (json_int_t)s->to_agent.facts.position,
                         "output", (json_int_t)s->to_client.facts.position, "watchers", (int)s->n_mirrors);
}
