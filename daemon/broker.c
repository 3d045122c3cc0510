/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/broker.h"

#include <string.h>

#include "daemon/access.h"
#include "daemon/errors.h"
#include "daemon/manager.h"
#include "daemon/method.h"
#include "daemon/service.h"
#include "lib/cleanup.h"

/* How long a call waits for what is being looked at: new sockets may come all the time, and
 * manholed-priv may hang. */
#define SETTLE_WITHIN_USEC (1000U * 1000U)

static const Method *const methods[] = { &method_list, &method_status, &method_attach, &method_mirror, &method_resume, &method_sessions,
                                         &method_terminate, &method_stacks, &method_tasks, &method_health, &method_exec,
                                         &method_broker_status, &method_metrics, &method_watch };

/* The name of a parameter that the method does not have, or that has the wrong type; or NULL. */
static const char *find_wrong_parameter(const Method *method, json_t *parameters) {
        const char *name;
        json_t *value;

        json_object_foreach(parameters, name, value) {
                const MethodParameter *p = method->parameters;

                while (p->name && strcmp(p->name, name) != 0)
                        p++;
                if (!p->name)
                        return name;
                if (!json_is_null(value) && json_typeof(value) != p->type &&
                    !(p->type == JSON_TRUE && json_is_boolean(value)))
                        return name;
        }
        return NULL;
}

static const Method *find_method(const char *name) {
        for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
                if (strcmp(methods[i]->name, name) == 0)
                        return methods[i];
        return NULL;
}

/* Has a look at the target that the call names; false when it has to be searched for. */
static bool look_at_named_target(Manager *m, Client *c) {
        const char *name = json_string_value(json_object_get(c->call.parameters, "target"));
        _cleanup_fd_ int fd = -1;
        Target *t;

        if (!name || registry_resolve(&m->registry, &m->policy, access_subject(m, c), name, &t) != 0)
                return false;
        fd = inspector_open(t);
        if (fd < 0)
                return false;
        inspector_look_again(&m->inspector, t);
        inspector_hasten(t);
        return true;
}

void broker_call(Manager *m, Client *client, const VarlinkCall *call) {
        const Method *method = find_method(call->method);
        const char *wrong;

        if (service_call(client, call))
                return;
        if (!method) {
                service_unknown_method(client, call);
                return;
        }
        wrong = find_wrong_parameter(method, call->parameters);
        if (wrong) {
                client_error(client, ERROR_INVALID_PARAMETER, "parameter", wrong);
                return;
        }
        if (method->at_once) {
                method->call(m, client, call->parameters);
                return;
        }
        client->looked = false;
        client->came_at = recorder_clock();
        client->n_looks = m->n_looks;
        turns_join(&m->turns, client);
        manager_next_turn(m);
}

/* What the call is about is still being looked at: the target that it names, or all. */
static bool is_pending(Manager *m, Client *c) {
        const char *name = json_string_value(json_object_get(c->call.parameters, "target"));
        Target *t;

        if (m->registry.n_pending == 0)
                return false;
        if (c->by_name &&
            registry_resolve(&m->registry, &m->policy, access_subject(m, c), name, &t) == 0)
                return t->pending;
        return true;
}

void broker_take_turn(Manager *m) {
        Client *c = turns_next(&m->turns);

        if (!c)
                return;
        /* inotify may be a moment behind: a list, and a "no", are as true as a look at every folder. One
         * that began after a call had come does for that call too. */
        if (!c->looked)
                c->by_name = look_at_named_target(m, c);
        if (!c->looked && !c->by_name && c->n_looks == m->n_looks) {
                m->n_looks++;
                scanner_rescan(m->scanner);
        }
        c->looked = true;
        if (is_pending(m, c) && recorder_clock() - c->came_at < SETTLE_WITHIN_USEC)
                return; /* when they are settled, or after that time */
        turns_leave(&m->turns, c);
        manager_next_turn(m);
        find_method(c->call.method)->call(m, c, c->call.parameters);
}
