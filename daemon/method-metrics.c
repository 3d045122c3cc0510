/* SPDX-License-Identifier: BSD-2-Clause */

/* What of the broker can be counted, for those who watch the machine. Not for everybody: how the bytes of
 * a session grow tells when somebody types. */

#include <dirent.h>
#include <sys/resource.h>

#include "daemon/access.h"
#include "daemon/errors.h"
#include "daemon/manager.h"
#include "daemon/method.h"
#include "daemon/session-access.h"

/* A metric, added to the list; returns its samples, which the list owns. */
static json_t *add_metric(json_t *metrics, const char *name, const char *kind, const char *help) {
        json_t *samples = json_array();

        (void)json_array_append_new(metrics, json_pack("{s:s, s:s, s:s, s:o}", "name", name, "kind", kind, "help",
                                                       help, "samples", samples));
        return samples;
}

static void add_sample(json_t *samples, const char *label, const char *what, uint64_t value) {
        json_t *labels = label ? json_pack("{s:s}", label, what) : json_object();

        (void)json_array_append_new(samples, json_pack("{s:o, s:I}", "labels", labels, "value", (json_int_t)value));
}

static void add_number(json_t *metrics, const char *name, const char *kind, const char *help, uint64_t value) {
        add_sample(add_metric(metrics, name, kind, help), NULL, NULL, value);
}

static void add_seconds(json_t *metrics, const char *name, const char *help, uint64_t usec) {
        (void)json_array_append_new(add_metric(metrics, name, "gauge", help),
                                    json_pack("{s:{}, s:f}", "labels", "value", (double)usec / 1e6));
}

static void add_targets(const Manager *m, json_t *metrics) {
        json_t *samples = add_metric(metrics, "manholed_targets", "gauge", "Processes with a manhole.");
        unsigned n[_TARGET_STATE_MAX] = {};
        const Target *t;

        TAILQ_FOREACH(t, &m->registry.targets, link)
                n[t->state]++;
        for (TargetState state = 0; state < _TARGET_STATE_MAX; state++)
                add_sample(samples, "state", target_state_to_string(state), n[state]);
}

/* Of the open sessions, and of those that have ended. */
static void add_sessions(const Manager *m, json_t *metrics) {
        uint64_t n[_SESSION_PHASE_MAX] = {}, sessions = m->tally.sessions, input = m->tally.input_bytes,
                 output = m->tally.output_bytes;
        const Session *s;
        json_t *samples;
        unsigned n_mirrors = 0;

        TAILQ_FOREACH(s, &m->sessions, link) {
                n[session_access_phase(s)]++;
                n_mirrors += s->n_mirrors;
                sessions++;
                input += s->to_agent.facts.position;
                output += s->to_client.facts.position;
        }
        samples = add_metric(metrics, "manholed_sessions_open", "gauge", "Sessions that are open.");
        for (SessionPhase phase = 0; phase < _SESSION_PHASE_MAX; phase++)
                add_sample(samples, "state", session_access_phase_name(phase), n[phase]);
        add_number(metrics, "manholed_watchers", "gauge", "Connections that watch a session.", n_mirrors);
        add_number(metrics, "manholed_sessions", "counter", "Sessions that were asked for and allowed.", sessions);
        samples = add_metric(metrics, "manholed_session_bytes", "counter", "Bytes typed and shown in sessions.");
        add_sample(samples, "direction", "input", input);
        add_sample(samples, "direction", "output", output);
}

static void add_errors(const Manager *m, json_t *metrics) {
        json_t *samples = add_metric(metrics, "manholed_errors", "counter", "Calls that were answered with an error.");

        for (size_t i = 0; i < TALLY_ERRORS; i++)
                add_sample(samples, "error", tally_error_name(i), m->tally.errors[i]);
}

static void add_recorder(const Manager *m, json_t *metrics) {
        RecorderState state = recorder_state(m->recorder);

        add_number(metrics, "manholed_records", "counter", "Records made.", state.written);
        add_number(metrics, "manholed_records_lost", "counter", "Records that could not be written.", state.lost);
        add_number(metrics, "manholed_recorder_queue_bytes", "gauge", "Records that wait to be written.",
                   state.queued_bytes);
        add_seconds(metrics, "manholed_recorder_lag_seconds", "For how long records have been waiting to be written.",
                    state.lag_usec);
}

static uint64_t count_open_descriptors(void) {
        DIR *dir = opendir("/proc/self/fd");
        uint64_t n = 0;

        if (!dir)
                return 0;
        while (readdir(dir))
                n++;
        (void)closedir(dir);
        return n - 3; /* ".", ".." and the folder itself */
}

/* Named as every Prometheus client library names them. */
static void add_process(const Manager *m, json_t *metrics) {
        struct rlimit limit = {};

        (void)getrlimit(RLIMIT_NOFILE, &limit);
        add_number(metrics, "process_start_time_seconds", "gauge", "When the broker started, in Unix time.",
                   (uint64_t)m->since);
        add_number(metrics, "process_open_fds", "gauge", "File descriptors in use.", count_open_descriptors());
        add_number(metrics, "process_max_fds", "gauge", "File descriptors that may be in use.", limit.rlim_cur);
}

static unsigned count_clients(const Manager *m) {
        const Client *c;
        unsigned n = 0;

        TAILQ_FOREACH(c, &m->clients, link)
                n++;
        return n;
}

static void metrics(Manager *m, Client *c, json_t *parameters) {
        json_t *metrics;

        if (!access_is_ours(c)) {
                client_error(c, ERROR_NOT_AUTHORIZED, "reason", "metrics are for root and for the user manholed runs as");
                return;
        }
        metrics = json_array();
        add_sample(add_metric(metrics, "manholed_build_info", "gauge", "The version that runs."), "version",
                   PACKAGE_VERSION, 1);
        add_targets(m, metrics);
        add_sessions(m, metrics);
        add_number(metrics, "manholed_clients", "gauge", "Connections that are no session.", count_clients(m));
        add_errors(m, metrics);
        add_number(metrics, "manholed_stale_sockets_removed", "counter", "Sockets of dead processes removed.",
                   m->tally.stale_removed);
        add_recorder(m, metrics);
        add_process(m, metrics);
        client_reply(c, json_pack("{s:o}", "metrics", metrics));
}

const Method method_metrics = { "org.manholed.Broker.Metrics", {}, metrics, true };
