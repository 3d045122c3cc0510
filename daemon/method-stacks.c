/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/asking.h"
#include "daemon/manager.h"
#include "daemon/method.h"

static void stacks(Manager *m, Client *c, json_t *parameters) {
        /* What variables hold is the application's own, as what a console shows. */
        bool locals = json_is_true(json_object_get(parameters, "locals"));

        asking_begin(m, c, parameters, locals ? POLICY_CONTROL : POLICY_OBSERVE,
                     (QuestionAsks){ CONSOLE_STACKS, locals ? "locals=yes\n" : "", 2, answer_stacks });
}

const Method method_stacks = {
        "org.manholed.Broker.Stacks",
        { { "target", JSON_STRING }, { "locals", JSON_TRUE } },
        stacks,
};
