/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <unistd.h>

#include "daemon/access.h"
#include "daemon/descriptors.h"
#include "daemon/manager.h"
#include "daemon/method.h"
#include "daemon/session-access.h"

/* Records that wait for longer than this are worth a word. */
#define LAG_USEC 1000000U

static void add_folder(const char *path, void *userdata) {
        (void)json_array_append_new(userdata, access_path_json(path));
}

static json_int_t count_targets(const Manager *m, Client *c) {
        const Target *t;
        json_int_t n = 0;

        TAILQ_FOREACH(t, &m->registry.targets, link)
                n += access_decide(m, c, t, POLICY_OBSERVE).allowed;
        return n;
}

static json_int_t count_sessions(const Manager *m, Client *c) {
        const Session *s;
        json_int_t n = 0;

        TAILQ_FOREACH(s, &m->sessions, link)
                n += session_access_decide(m, c, s, POLICY_WATCH).allowed;
        return n;
}

/* What somebody should look at; a new reference. */
static json_t *find_problems(const Manager *m, const Client *c, const RecorderStore *store) {
        RecorderState recorder = recorder_state(m->recorder);
        json_t *problems = json_array();

        if (m->reload_failed)
                (void)json_array_append_new(problems, json_string("the configuration could not be reloaded, and what it "
                                                                  "was before is in force; the log says why"));
        if (recorder.lag_usec > LAG_USEC)
                (void)json_array_append_new(problems, json_sprintf("records have been waiting to be written for %.0f s",
                                                                   (double)recorder.lag_usec / 1e6));
        if (recorder.lost > 0)
                (void)json_array_append_new(problems, json_sprintf("%llu records could not be written since the start",
                                                                   (unsigned long long)recorder.lost));
        if (store->known && store->is_volatile)
                (void)json_array_append_new(problems, json_string("the journal is in memory: records are gone when the machine "
                                                                  "restarts (journald.conf(5), Storage=)"));
        if (!descriptors_are_left(c->fd, DESCRIPTORS_FOR_CLIENTS))
                (void)json_array_append_new(problems, json_string("file descriptors are running out: nobody else is let in"));
        return problems;
}

/* A new reference. */
static json_t *store_json(const RecorderStore *store) {
        if (!store->known)
                return json_null();
        return json_pack("{s:b, s:o, s:I}", "volatile", store->is_volatile, "since",
                         access_time_json((time_t)(store->since_usec / 1000000U)), "bytes", (json_int_t)store->bytes);
}

static void broker_status(Manager *m, Client *c, json_t *parameters) {
        RecorderStore store = recorder_store(m->recorder);
        json_t *folders = json_array();

        scanner_each_folder(m->scanner, add_folder, folders);
        client_reply(c, json_pack("{s:s, s:i, s:o, s:s, s:o, s:o, s:I, s:I, s:I, s:o}", "version", PACKAGE_VERSION, "pid",
                                  (int)getpid(), "since", access_time_json(m->since), "recording",
                                  m->recorder->description, "records", store_json(&store), "folders", folders, "rules",
                                  (json_int_t)m->policy.n_rules, "targets", count_targets(m, c), "sessions",
                                  count_sessions(m, c), "problems", find_problems(m, c, &store)));
}

const Method method_broker_status = { "org.manholed.Broker.BrokerStatus", {}, broker_status };
