/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/diagnosis.h"
#include "daemon/errors.h"
#include "daemon/manager.h"
#include "lib/escape.h"

static bool is_group_of_rules(gid_t group, const void *userdata) {
        return policy_names_group(userdata, group);
}

PolicySubject access_subject(const Manager *m, Client *c) {
        if (c->groups_policy != m->n_policies) {
                free(c->groups);
                c->groups = NULL;
                c->n_groups = 0;
                c->groups_unknown = peer_read_groups(c->fd, c->peer.gid, is_group_of_rules, &m->policy, &c->groups,
                                                     &c->n_groups) < 0;
                c->groups_policy = m->n_policies;
        }
        return (PolicySubject){ c->peer.uid, c->groups, c->n_groups, c->groups_unknown };
}

PolicyVerdict access_decide(const Manager *m, Client *c, const Target *t, PolicyMode mode) {
        return policy_decide(&m->policy, access_subject(m, c), target_policy_object(t), mode);
}

json_t *access_nullable(const char *text) {
        return text && *text ? json_string(text) : json_null();
}

bool access_is_ours(const Client *c) {
        return c->peer.uid == 0 || c->peer.uid == geteuid();
}

json_t *access_path_json(const char *path) {
        char escaped[ACCESS_REASON_MAX] = "";

        if (path)
                (void)escape_text(escaped, sizeof(escaped), path, strlen(path));
        return access_nullable(escaped);
}

json_t *access_time_json(time_t time) {
        char text[32];
        struct tm tm;

        (void)gmtime_r(&time, &tm);
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
        return json_string(text);
}

json_t *access_target_json(Manager *m, const Target *t) {
        uid_t uid = t->has_process ? t->ids.euid : t->file.st_uid;
        json_t *target;

        target = json_pack("{s:i, s:I, s:o, s:o, s:s, s:s, s:o, s:s, s:s, s:i, s:s}", "pid", (int)t->pid, "uid",
                         (json_int_t)uid, "user", access_nullable(names_get(m->names, uid)), "unit", access_nullable(t->unit),
                         "comm", t->comm, "command", t->command ?: "", "python",
                         access_nullable(t->python_known ? t->python.version : NULL), "agent", target_agent_name(t),
                         "state", target_state_name(t), "sessions", (int)t->n_sessions, "socket", t->path);
        if (target && t->ns_pid != t->pid)
                (void)json_object_set_new(target, "nspid", json_integer(t->ns_pid));
        return target;
}

static void refuse_ambiguous(Manager *m, Client *c, const char *name) {
        json_t *pids = json_array();
        char reason[ACCESS_REASON_MAX];
        Target *t;

        TAILQ_FOREACH(t, &m->registry.targets, link)
                if (registry_matches(t, name) &&
                    policy_allows_anything(&m->policy, access_subject(m, c), target_policy_object(t)))
                        (void)json_array_append_new(pids, json_integer(t->pid));
        (void)snprintf(reason, sizeof(reason), "%zu targets answer to '%.256s'; name one by its pid",
                       json_array_size(pids), name);
        client_error_object(c, ERROR_AMBIGUOUS_TARGET, json_pack("{s:s, s:o}", "reason", reason, "pids", pids));
}

Target *access_find_target(Manager *m, Client *c, json_t *parameters) {
        const char *name = json_string_value(json_object_get(parameters, "target"));
        char reason[ACCESS_REASON_MAX];
        Target *t;

        if (!name) {
                client_error(c, ERROR_INVALID_PARAMETER, "parameter", "target");
                return NULL;
        }
        switch (registry_resolve(&m->registry, &m->policy, access_subject(m, c), name, &t)) {
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

void access_record_denied(Manager *m, const Client *c, const Target *t, const char *reason) {
        const char *user = names_get(m->names, c->peer.uid);
        RecordOrigin origin = peer_origin(&c->peer);
        char number[16];
        RecordParties parties = { .client_uid = c->peer.uid, .client_user = user ?: number,
                                  .client_pid = c->peer.pid, .client_origin = &origin, .target_pid = t->pid,
                                  .target_uid = t->has_process ? t->ids.euid : t->file.st_uid,
                                  .target_comm = t->comm, .target_unit = t->unit,
                                  .target_gone = !t->has_process };

        (void)snprintf(number, sizeof(number), "%u", (unsigned)c->peer.uid);
        recorder_post(m->recorder, &(Record){ .event = RECORD_DENIED, .parties = &parties, .reason = reason,
                                              .socket = t->path });
}

bool access_allows(Manager *m, Client *c, const Target *t, PolicyMode mode) {
        PolicyVerdict verdict = access_decide(m, c, t, mode);
        bool untrusted = t->state == TARGET_UNTRUSTED;
        char diagnosis[ACCESS_REASON_MAX];

        if (!verdict.allowed) {
                access_record_denied(m, c, t, verdict.rule);
                client_error(c, ERROR_NOT_AUTHORIZED, "reason", verdict.rule);
                return false;
        }
        if (diagnose_target(t, diagnosis, sizeof(diagnosis))) {
                if (untrusted)
                        access_record_denied(m, c, t, diagnosis);
                client_error(c, untrusted ? ERROR_TARGET_UNTRUSTED : ERROR_TARGET_GONE, "reason", diagnosis);
                return false;
        }
        return true;
}

bool access_has_agent(Client *c, const Target *t) {
        char reason[ACCESS_REASON_MAX];

        if (t->python_known && t->python.native)
                return true;
        (void)snprintf(reason, sizeof(reason),
                       t->python_known ? "process %d has the pure-Python manhole, which cannot be asked without "
                                         "opening a console in it"
                                       : "it cannot be seen whether process %d has manholed's agent, which alone "
                                         "can be asked without opening a console",
                       (int)t->pid);
        client_error(c, ERROR_UNSUPPORTED, "reason", reason);
        return false;
}
