/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/manager.h"
#include "daemon/method.h"
#include "daemon/session-access.h"

static void sessions(Manager *m, Client *c, json_t *parameters) {
        json_t *list = json_array();
        Session *s;

        TAILQ_FOREACH(s, &m->sessions, link)
                if (session_access_decide(m, c, s, POLICY_WATCH).allowed)
                        (void)json_array_append_new(list, session_access_json(m, s));
        client_reply(c, json_pack("{s:o}", "sessions", list));
}

const Method method_sessions = { "org.manholed.Broker.Sessions", {}, sessions, true };
