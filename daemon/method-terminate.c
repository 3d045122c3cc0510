/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "daemon/access.h"
#include "daemon/manager.h"
#include "daemon/method.h"
#include "daemon/session-access.h"
#include "lib/escape.h"

static void terminate(Manager *m, Client *c, json_t *parameters) {
        const char *text = json_string_value(json_object_get(parameters, "reason"));
        char who[NAMES_PERSON_MAX], escaped[ACCESS_REASON_MAX / 2] = "", why[ACCESS_REASON_MAX];
        Session *s = session_access_find_for(m, c, parameters, POLICY_TERMINATE);

        if (!s)
                return;
        names_person(m->names, c->peer.uid, who);
        if (text)
                escape_text(escaped, sizeof(escaped), text, strlen(text));
        (void)snprintf(why, sizeof(why), "terminated by %s%s%s", who, text ? ": " : "", escaped);
        session_cancel(s, why);
        client_reply(c, NULL);
}

const Method method_terminate = {
        "org.manholed.Broker.Terminate",
        { { "session", JSON_STRING }, { "reason", JSON_STRING } },
        terminate,
        true,
};
