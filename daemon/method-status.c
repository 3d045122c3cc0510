/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/access.h"
#include "daemon/diagnosis.h"
#include "daemon/errors.h"
#include "daemon/manager.h"
#include "daemon/method.h"

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
        client_reply(c, json_pack("{s:o, s:b, s:s, s:o, s:s}", "target", access_target_json(m, t), "allowed",
                                  verdict.allowed, "rule", verdict.rule, "diagnosis", access_nullable(diagnosis),
                                  "recording", m->recorder->description));
}

const Method method_status = { "org.manholed.Broker.Status", { { "target", JSON_STRING } }, status };
