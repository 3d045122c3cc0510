/* SPDX-License-Identifier: BSD-2-Clause */
#include <malloc.h>

#include "daemon/access.h"
#include "daemon/manager.h"
#include "daemon/method.h"

#define MANY 1000U

static void list(Manager *m, Client *c, json_t *parameters) {
        json_t *targets = json_array();
        Target *t;
        bool many;

        TAILQ_FOREACH(t, &m->registry.targets, link)
                if (t->state != TARGET_UNKNOWN && access_decide(m, c, t, POLICY_OBSERVE).allowed)
                        (void)json_array_append_new(targets, access_target_json(m, t));
        many = json_array_size(targets) > MANY;
        client_reply(c, json_pack("{s:o}", "targets", targets));
        /* A long list is mostly gone again, and nothing else needs as much. */
        if (many)
                (void)malloc_trim(0);
}

const Method method_list = { "org.manholed.Broker.List", {}, list };
