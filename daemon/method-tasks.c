/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/asking.h"
#include "daemon/manager.h"
#include "daemon/method.h"

static void tasks(Manager *m, Client *c, json_t *parameters) {
        /* The agent itself gives up within 5.3 s, and says why. */
        asking_begin(m, c, parameters, POLICY_OBSERVE, (QuestionAsks){ CONSOLE_TASKS, "", 6, answer_tasks });
}

const Method method_tasks = { "org.manholed.Broker.Tasks", { { "target", JSON_STRING } }, tasks };
