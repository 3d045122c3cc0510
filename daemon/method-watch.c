/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/errors.h"
#include "daemon/manager.h"
#include "daemon/method.h"
#include "daemon/watcher.h"

static void watch(Manager *m, Client *c, json_t *parameters) {
        if (!client_may_continue(c))
                return;
        switch (watcher_new(m, c)) {
        case 0:
                return;
        case QUOTA_E_EXCEEDED:
                client_error(c, ERROR_TOO_MANY_SESSIONS, "reason", "this user has too many watches");
                return;
        default:
                client_error(c, ERROR_TOO_MANY_SESSIONS, "reason", "the daemon is out of memory");
        }
}

const Method method_watch = { "org.manholed.Broker.Watch", {}, watch };
