/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/access.h"
#include "daemon/diagnosis.h"
#include "daemon/errors.h"
#include "daemon/manager.h"
#include "daemon/method.h"

/* What the caller may do, and which rule says so; a new reference. */
static json_t *decisions(const Manager *m, Client *c, const Target *t) {
        json_t *modes = json_array();

        for (PolicyMode mode = 0; mode < _POLICY_MODE_MAX; mode++) {
                PolicyVerdict verdict = access_decide(m, c, t, mode);

                (void)json_array_append_new(modes, json_pack("{s:s, s:b, s:s}", "mode", policy_mode_name(mode),
                                                             "allowed", verdict.allowed, "rule", verdict.rule));
        }
        return modes;
}

static void status(Manager *m, Client *c, json_t *parameters) {
        char diagnosis[ACCESS_REASON_MAX] = "";
        PolicyVerdict verdict;
        Target *t = access_find_target(m, c, parameters);

        if (!t)
                return;
        verdict = access_decide(m, c, t, POLICY_OBSERVE);
        if (!verdict.allowed) {
                client_error(c, ERROR_NOT_AUTHORIZED, "reason", verdict.rule);
                return;
        }
        verdict = access_decide(m, c, t, POLICY_CONTROL);
        diagnose_target(t, diagnosis, sizeof(diagnosis));
        client_reply(c, json_pack("{s:o, s:o, s:b, s:s, s:o, s:o, s:s}", "target", access_target_json(m, t),
                                  "executable", access_path_json(t->executable),
                                  "allowed", verdict.allowed, "rule", verdict.rule, "modes", decisions(m, c, t),
                                  "diagnosis", access_nullable(diagnosis), "recording",
                                  m->recorder->description));
}

const Method method_status = { "org.manholed.Broker.Status", { { "target", JSON_STRING } }, status };
