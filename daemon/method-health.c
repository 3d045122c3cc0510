/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/asking.h"
#include "daemon/manager.h"
#include "daemon/method.h"

static void health(Manager *m, Client *c, json_t *parameters) {
        asking_begin(m, c, parameters, POLICY_OBSERVE, (QuestionAsks){ CONSOLE_HEALTH, "", 2, answer_health });
}

const Method method_health = { "org.manholed.Broker.Health", { { "target", JSON_STRING } }, health };
