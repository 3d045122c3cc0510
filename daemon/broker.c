/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/broker.h"

#include <stdio.h>
#include <string.h>

#include "daemon/descriptors.h"
#include "daemon/diagnosis.h"
#include "daemon/errors.h"
#include "daemon/log.h"
#include "daemon/manager.h"
#include "daemon/policy.h"
#include "daemon/service.h"
#include "lib/cleanup.h"

#define REASON_MAX 512U
/* How long a call waits for what is being looked at: new sockets may come all the time, and
 * manholed-priv may hang. */
#define SETTLE_WITHIN_USEC (1000U * 1000U)

static PolicySubject subject_of(const Client *c) {
        return (PolicySubject){ .uid = c->peer.uid };
}

static PolicyVerdict may(const Client *c, const Target *t, PolicyMode mode) {
        return policy_decide(subject_of(c), target_policy_object(t), mode);
}

static json_t *nullable(const char *text) {
        return text && *text ? json_string(text) : json_null();
}

static json_t *target_json(Manager *m, const Target *t) {
        uid_t uid = t->has_process ? t->ids.euid : t->file.st_uid;

        return json_pack("{s:i, s:I, s:o, s:o, s:s, s:s, s:o, s:s, s:s, s:i, s:s}", "pid", (int)t->pid, "uid",
                         (json_int_t)uid, "user", nullable(names_get(m->names, uid)), "unit", nullable(t->unit),
                         "comm", t->comm, "command", t->command ?: "", "python",
                         nullable(t->python_known ? t->python.version : NULL), "agent", target_agent_name(t),
                         "state", target_state_name(t), "sessions", (int)t->n_sessions, "socket", t->path);
}

/* ------------------------------------------------------------------ List */

static void broker_list(Manager *m, Client *c, json_t *parameters) {
        json_t *targets = json_array();
        Target *t;

        TAILQ_FOREACH(t, &m->registry.targets, link)
                if (t->state != TARGET_UNKNOWN && may(c, t, POLICY_OBSERVE).allowed)
                        (void)json_array_append_new(targets, target_json(m, t));
        client_reply(c, json_pack("{s:o}", "targets", targets));
}

/* --------------------------------------------------- finding one's target */

static void refuse_ambiguous(Manager *m, Client *c, const char *name) {
        json_t *pids = json_array();
        char reason[REASON_MAX];
        Target *t;

        TAILQ_FOREACH(t, &m->registry.targets, link)
                if (registry_matches(t, name) && may(c, t, POLICY_OBSERVE).allowed)
                        (void)json_array_append_new(pids, json_integer(t->pid));
        (void)snprintf(reason, sizeof(reason), "%zu targets answer to '%.256s'; name one by its pid",
                       json_array_size(pids), name);
        client_error_object(c, ERROR_AMBIGUOUS_TARGET, json_pack("{s:s, s:o}", "reason", reason, "pids", pids));
}

/* The target the call names; without one the client has its error, and NULL comes back. */
static Target *find_target(Manager *m, Client *c, json_t *parameters) {
        const char *name = json_string_value(json_object_get(parameters, "target"));
        char reason[REASON_MAX];
        Target *t;

        if (!name) {
                client_error(c, ERROR_INVALID_PARAMETER, "parameter", "target");
                return NULL;
        }
        switch (registry_resolve(&m->registry, subject_of(c), name, &t)) {
        case 0:
                target_refresh_ids(t);
                return t;
        case REGISTRY_E_AMBIGUOUS:
                refuse_ambiguous(m, c, name);
                return NULL;
        default:
                diagnose_missing(name, reason, sizeof(reason));
                client_error(c, ERROR_NO_SUCH_TARGET, "reason", reason);
                return NULL;
        }
}

static void record_denied(Manager *m, const Client *c, const Target *t, const char *reason) {
        const char *user = names_get(m->names, c->peer.uid);
        char number[16];
        RecordParties parties = { .client_uid = c->peer.uid, .client_user = user ?: number,
                                  .client_pid = c->peer.pid, .target_pid = t->pid,
                                  .target_uid = t->has_process ? t->ids.euid : t->file.st_uid,
                                  .target_comm = t->comm, .target_unit = t->unit,
                                  .target_gone = !t->has_process };

        (void)snprintf(number, sizeof(number), "%u", (unsigned)c->peer.uid);
        recorder_post(m->recorder, &(Record){ .event = RECORD_DENIED, .parties = &parties, .reason = reason,
                                              .socket = t->path });
}

/* ---------------------------------------------------------------- Status */

static void broker_status(Manager *m, Client *c, json_t *parameters) {
        char diagnosis[REASON_MAX] = "";
        PolicyVerdict verdict;
        Target *t = find_target(m, c, parameters);

        if (!t)
                return;
        verdict = may(c, t, POLICY_OBSERVE);
        if (!verdict.allowed) {
                client_error(c, ERROR_NOT_AUTHORIZED, "reason", verdict.rule);
                return;
        }
        verdict = may(c, t, POLICY_CONTROL);
        diagnose_target(t, diagnosis, sizeof(diagnosis));
        client_reply(c, json_pack("{s:o, s:b, s:s, s:o, s:s}", "target", target_json(m, t), "allowed",
                                  verdict.allowed, "rule", verdict.rule, "diagnosis", nullable(diagnosis),
                                  "recording", m->recorder->description));
}

/* ---------------------------------------------------------------- Attach */

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
        if (client_upgrade(c, json_pack("{s:s, s:o, s:b, s:s}", "session", s->id, "target",
                                        target_json(m, s->target), "framed", s->framed, "recording",
                                        m->recorder->description),
                           &fd, &rest, &n_rest) < 0) {
                session_end(s, "client lost");
                return;
        }
        /* The connection is still one; it has only changed hands. */
        if (quota_charge(&m->connections, s->peer.uid) == 0)
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

static void broker_attach(Manager *m, Client *c, json_t *parameters) {
        const char *reason = json_string_value(json_object_get(parameters, "reason"));
        json_t *framed = json_object_get(parameters, "framed");
        char diagnosis[REASON_MAX];
        PolicyVerdict verdict;
        Target *t;

        if (!c->call.upgrade) {
                client_error_object(c, ERROR_EXPECTED_UPGRADE, NULL);
                return;
        }
        if (framed && !json_is_boolean(framed) && !json_is_null(framed)) {
                client_error(c, ERROR_INVALID_PARAMETER, "parameter", "framed");
                return;
        }
        t = find_target(m, c, parameters);
        if (!t)
                return;
        verdict = may(c, t, POLICY_CONTROL);
        if (!verdict.allowed) {
                record_denied(m, c, t, verdict.rule);
                client_error(c, ERROR_NOT_AUTHORIZED, "reason", verdict.rule);
                return;
        }
        if (diagnose_target(t, diagnosis, sizeof(diagnosis))) {
                bool untrusted = t->state == TARGET_UNTRUSTED;

                if (untrusted)
                        record_denied(m, c, t, diagnosis);
                client_error(c, untrusted ? ERROR_TARGET_UNTRUSTED : ERROR_TARGET_GONE, "reason", diagnosis);
                return;
        }
        if (!descriptors_are_left(c->fd, DESCRIPTORS_FOR_SESSIONS)) {
                client_error(c, ERROR_TOO_MANY_SESSIONS, "reason", "the broker has as many sessions as it can serve");
                return;
        }
        if (session_new(&m->session_host, t, &c->peer, json_is_true(framed), reason,
                        (SessionClient){ attach_ready, attach_failed, m }, &c->session) < 0) {
                client_error(c, ERROR_TARGET_GONE, "reason", "the daemon is out of memory");
                return;
        }
        TAILQ_INSERT_TAIL(&m->sessions, c->session, link);
}

/* -------------------------------------------------------------- dispatch */

typedef struct Parameter {
        const char *name;
        json_type type; /* JSON_TRUE stands for a boolean */
} Parameter;

typedef struct Method {
        const char *name;
        Parameter parameters[4];
        void (*call)(Manager *m, Client *c, json_t *parameters);
} Method;

static const Method methods[] = {
        { "org.manholed.Broker.List", {}, broker_list },
        { "org.manholed.Broker.Status", { { "target", JSON_STRING } }, broker_status },
        { "org.manholed.Broker.Attach",
          { { "target", JSON_STRING }, { "framed", JSON_TRUE }, { "reason", JSON_STRING } }, broker_attach },
};

/* The name of a parameter that the method does not have, or that has the wrong type; or NULL. */
static const char *find_wrong_parameter(const Method *method, json_t *parameters) {
        const char *name;
        json_t *value;

        json_object_foreach(parameters, name, value) {
                const Parameter *p = method->parameters;

                while (p->name && strcmp(p->name, name) != 0)
                        p++;
                if (!p->name)
                        return name;
                if (!json_is_null(value) && json_typeof(value) != p->type &&
                    !(p->type == JSON_TRUE && json_is_boolean(value)))
                        return name;
        }
        return NULL;
}

static const Method *find_method(const char *name) {
        for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
                if (strcmp(methods[i].name, name) == 0)
                        return &methods[i];
        return NULL;
}

/* Has a look at the target that the call names; false when it has to be searched for. */
static bool look_at_named_target(Manager *m, const Client *c) {
        const char *name = json_string_value(json_object_get(c->call.parameters, "target"));
        _cleanup_fd_ int fd = -1;
        Target *t;

        if (!name || registry_resolve(&m->registry, subject_of(c), name, &t) != 0)
                return false;
        fd = inspector_open(t);
        if (fd < 0)
                return false;
        inspector_look_again(&m->inspector, t, fd);
        return true;
}

void broker_call(Manager *m, Client *client, const VarlinkCall *call) {
        const Method *method = find_method(call->method);
        const char *wrong;

        if (service_call(client, call))
                return;
        if (!method) {
                service_unknown_method(client, call);
                return;
        }
        wrong = find_wrong_parameter(method, call->parameters);
        if (wrong) {
                client_error(client, ERROR_INVALID_PARAMETER, "parameter", wrong);
                return;
        }
        client->looked = false;
        client->came_at = recorder_clock();
        client->n_looks = m->n_looks;
        turns_join(&m->turns, client);
        manager_next_turn(m);
}

void broker_take_turn(Manager *m) {
        Client *c = turns_next(&m->turns);

        if (!c)
                return;
        /* inotify may be a moment behind: a list, and a "no", are as true as a look at every folder. One
         * that began after a call had come does for that call too. */
        if (!c->looked && !look_at_named_target(m, c) && c->n_looks == m->n_looks) {
                m->n_looks++;
                scanner_rescan(m->scanner);
        }
        c->looked = true;
        if (m->registry.n_pending > 0 && recorder_clock() - c->came_at < SETTLE_WITHIN_USEC)
                return; /* when they are settled, or after that time */
        turns_leave(&m->turns, c);
        manager_next_turn(m);
        find_method(c->call.method)->call(m, c, c->call.parameters);
}
