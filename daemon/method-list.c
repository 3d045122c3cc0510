/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/access.h"
#include "daemon/manager.h"
#include "daemon/method.h"

static void list(Manager *m, Client *c, json_t *parameters) {
        json_t *targets = json_array();
        Target *t;

        TAILQ_FOREACH(t, &m->registry.targets, link)
                if (t->state != TARGET_UNKNOWN && access_decide(m, c, t, POLICY_OBSERVE).allowed)
                        (void)json_array_append_new(targets, access_target_json(m, t));
        client_reply(c, json_pack("{s:o}", "targets", targets));
}

const Method method_list = { "org.manholed.Broker.List", {}, list };
