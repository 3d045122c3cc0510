/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/config.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/rule.h"
#include "lib/parse.h"

#define CONFIG_FILE SYSCONFDIR "/manholed.conf"
#define CONFIG_FOLDER SYSCONFDIR "/manholed.conf.d"
#define CONNECTIONS_PER_USER 512U
#define SESSIONS_PER_USER 256U
#define TARGETS_PER_USER 16384U
#define LINGER_USEC (30U * 1000000U)
/* The journal keeps 4 GiB at most by default (journald.conf(5), SystemMaxUse=): nobody may have so much
 * recorded that others' records go. */
#define RECORD_SESSION_BYTES (512ULL << 20)
#define RECORD_USER_DAY_BYTES (1ULL << 30)
/* Ten years: what is longer is a mistake. */
#define TIME_MAX_USEC (3652ULL * 86400U * 1000000U)

void config_init(Config *c) {
        *c = (Config){ .connections_per_user = CONNECTIONS_PER_USER, .sessions_per_user = SESSIONS_PER_USER,
                        .targets_per_user = TARGETS_PER_USER,
                        .session_limits.linger_usec = LINGER_USEC,
                        .recorder_rules.session_bytes_max = RECORD_SESSION_BYTES,
                        .recorder_rules.user_day_bytes_max = RECORD_USER_DAY_BYTES,
                        .log_level = -1 };
}

static void forget_scan(Config *c) {
        for (size_t i = 0; i < c->n_scan; i++)
                free(c->scan[i]);
        free(c->scan);
        c->scan = NULL;
        c->n_scan = 0;
}

void config_done(Config *c) {
        free(c->record);
        forget_scan(c);
        policy_done(&c->policy);
        *c = (Config){};
}

int config_add_scan(Config *c, const char *folder) {
        char **grown = reallocarray(c->scan, c->n_scan + 1, sizeof(*grown));

        if (!grown)
                return -ENOMEM;
        c->scan = grown;
        c->scan[c->n_scan] = strdup(folder);
        if (!c->scan[c->n_scan])
                return -ENOMEM;
        c->n_scan++;
        return 0;
}

int config_set_record(Config *c, const char *where) {
        char *copy = strdup(where);

        if (!copy)
                return -ENOMEM;
        free(c->record);
        c->record = copy;
        return 0;
}

static int set_record(Config *c, const char *value) {
        if (strcmp(value, "journal") != 0 && strcmp(value, "none") != 0 && strncmp(value, "file:/", 6) != 0)
                return -EINVAL;
        return config_set_record(c, value);
}

static int set_limit(const char *value, uint64_t *ret_usec) {
        uint64_t usec = 0;

        if (strcmp(value, "infinity") != 0 && (parse_duration(value, TIME_MAX_USEC, &usec) < 0 || usec == 0))
                return -EINVAL;
        *ret_usec = usec;
        return 0;
}

static int set_recording(Config *c, const char *value) {
        static const char *const modes[] = { [RECORDER_REQUIRED] = "required", [RECORDER_BEST_EFFORT] = "best-effort",
                                             [RECORDER_OFF] = "off" };

        for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
                if (strcmp(value, modes[i]) == 0) {
                        c->recorder_rules.mode = (RecorderMode)i;
                        return 0;
                }
        return -EINVAL;
}

static int set_omitted(const char *value, bool *ret) {
        bool recorded;
        int r = parse_boolean(value, &recorded);

        if (r == 0)
                *ret = !recorded;
        return r;
}

static int set_record_input(Config *c, const char *value) {
        return set_omitted(value, &c->recorder_rules.omit_input);
}

static int set_record_output(Config *c, const char *value) {
        return set_omitted(value, &c->recorder_rules.omit_output);
}

static int set_size(const char *value, uint64_t *ret) {
        uint64_t n = 0;

        if (strcmp(value, "infinity") != 0 && (parse_size(value, &n) < 0 || n == 0))
                return -EINVAL;
        *ret = n;
        return 0;
}

static int set_record_session(Config *c, const char *value) {
        return set_size(value, &c->recorder_rules.session_bytes_max);
}

static int set_record_user_day(Config *c, const char *value) {
        return set_size(value, &c->recorder_rules.user_day_bytes_max);
}

static int set_retain_sec(Config *c, const char *value) {
        return set_limit(value, &c->recorder_rules.retention.usec);
}

static int set_retain_max(Config *c, const char *value) {
        return set_size(value, &c->recorder_rules.retention.bytes);
}

static int set_scan(Config *c, const char *value) {
        if (!*value) {
                forget_scan(c);
                return 0;
        }
        return value[0] == '/' ? config_add_scan(c, value) : -EINVAL;
}

static int set_quota(const char *value, unsigned *ret) {
        uint64_t n;

        if (parse_u64(value, 1000000, &n) < 0 || n == 0)
                return -EINVAL;
        *ret = (unsigned)n;
        return 0;
}

static int set_connections(Config *c, const char *value) {
        return set_quota(value, &c->connections_per_user);
}

static int set_sessions(Config *c, const char *value) {
        return set_quota(value, &c->sessions_per_user);
}

static int set_targets(Config *c, const char *value) {
        return set_quota(value, &c->targets_per_user);
}

static int set_session_idle(Config *c, const char *value) {
        return set_limit(value, &c->session_limits.idle_usec);
}

static int set_linger(Config *c, const char *value) {
        return parse_duration(value, TIME_MAX_USEC, &c->session_limits.linger_usec);
}

static int set_session_max(Config *c, const char *value) {
        return set_limit(value, &c->session_limits.max_usec);
}

static int set_remove_stale(Config *c, const char *value) {
        static const char *const names[] = {
                [REMOVE_STALE_YES] = "yes",
                [REMOVE_STALE_REPORT] = "report",
                [REMOVE_STALE_NO] = "no",
        };

        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
                if (strcmp(value, names[i]) == 0) {
                        c->remove_stale = (RemoveStale)i;
                        return 0;
                }
        return -EINVAL;
}

static int set_require_reason(Config *c, const char *value) {
        return parse_boolean(value, &c->require_reason);
}

static int set_log_level(Config *c, const char *value) {
        return log_level_from_string(value, &c->log_level);
}

static const struct {
        const char *name;
        int (*set)(Config *c, const char *value);
} keys[] = {
        { "Record", set_record },
        { "Recording", set_recording },
        { "RecordInput", set_record_input },
        { "RecordOutput", set_record_output },
        { "RecordBytesPerSession", set_record_session },
        { "RecordBytesPerUserDay", set_record_user_day },
        { "RetainSec", set_retain_sec },
        { "RetainMax", set_retain_max },
        { "Scan", set_scan },
        { "ConnectionsPerUser", set_connections },
        { "SessionsPerUser", set_sessions },
        { "TargetsPerUser", set_targets },
        { "SessionIdleSec", set_session_idle },
        { "SessionMaxSec", set_session_max },
        { "LingerSec", set_linger },
        { "RemoveStale", set_remove_stale },
        { "RequireReason", set_require_reason },
        { "LogLevel", set_log_level },
};

typedef struct Reading {
        Config *config;
        bool in_rule; /* else in [Manholed] */
} Reading;

static const char *begin_section(void *userdata, const char *kind, const char *name, const char *place) {
        Reading *reading = userdata;
        bool grants = strcmp(kind, "Grant") == 0;

        reading->in_rule = grants || strcmp(kind, "Deny") == 0;
        if (reading->in_rule)
                return rule_begin(&reading->config->policy, grants, name, place);
        /* No name: there is one section of the kind. */
        return strcmp(kind, "Manholed") == 0 && !name ? NULL : "unknown section";
}

static const char *end_section(void *userdata) {
        const Reading *reading = userdata;

        return reading->in_rule ? rule_end(&reading->config->policy) : NULL;
}

static const char *assign(void *userdata, const char *key, const char *value) {
        Reading *reading = userdata;

        if (reading->in_rule)
                return rule_assign(&reading->config->policy, key, value);
        for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
                if (strcmp(keys[i].name, key) == 0)
                        switch (keys[i].set(reading->config, value)) {
                        case 0:
                                return NULL;
                        case -ENOMEM:
                                return "out of memory";
                        default:
                                return "this value is not understood";
                        }
        return "unknown key";
}

static IniHandler handler_of(Reading *reading) {
        return (IniHandler){ begin_section, assign, end_section, reading };
}

int config_parse(Config *c, const char *name, const char *text, IniError *ret_error) {
        Reading reading = { .config = c };
        IniHandler handler = handler_of(&reading);

        return ini_parse(name, text, &handler, ret_error);
}

static int load_file(Config *c, const char *path, IniError *ret_error) {
        Reading reading = { .config = c };
        IniHandler handler = handler_of(&reading);

        return ini_load(path, &handler, ret_error);
}

static int is_fragment(const struct dirent *entry) {
        size_t n = strlen(entry->d_name);

        return entry->d_name[0] != '.' && n > 5 && strcmp(entry->d_name + n - 5, ".conf") == 0;
}

static int load_folder(Config *c, IniError *ret_error) {
        struct dirent **entries;
        int r = 0, n = scandir(CONFIG_FOLDER, &entries, is_fragment, alphasort);

        if (n < 0 && errno != ENOENT) {
                r = -errno;
                (void)snprintf(ret_error->text, sizeof(ret_error->text), "%s: %s", CONFIG_FOLDER, strerror(-r));
                return r;
        }
        for (int i = 0; i < n; i++) {
                char path[sizeof(CONFIG_FOLDER) + sizeof(entries[i]->d_name) + 1];

                if (r == 0) {
                        (void)snprintf(path, sizeof(path), "%s/%s", CONFIG_FOLDER, entries[i]->d_name);
                        r = load_file(c, path, ret_error);
                }
                free(entries[i]);
        }
        if (n >= 0)
                free(entries);
        return r;
}

int config_load(Config *c, const char *file, IniError *ret_error) {
        int r;

        if (file)
                return load_file(c, file, ret_error);
        r = load_file(c, CONFIG_FILE, ret_error);
        if (r < 0 && r != -ENOENT)
                return r;
        return load_folder(c, ret_error);
}
