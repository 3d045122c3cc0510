/* SPDX-License-Identifier: BSD-2-Clause */

/* manholed: options, configuration, and the run. See manholed(8). */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/descriptors.h"
#include "daemon/explain.h"
#include "daemon/log.h"
#include "daemon/manager.h"
#include "daemon/resolver.h"
#include "daemon/rule-report.h"
#include "lib/cleanup.h"

#define EXIT_USAGE 2

static char *arg_control;
static const char *arg_config;
static const char *arg_record;
static const char *arg_log_level;
static bool arg_check;
static ExplainQuestion arg_explain; /* no pid: none */
static Config arg_scan; /* only its folders */

static void help(void) {
        printf("manholed [OPTIONS...]\n\n"
               "Lets users into running Python processes, and records what they do there.\n\n"
               "     --control=PATH       Listen here, unless systemd passed a socket\n"
               "     --scan=DIR           Look for manholes in this folder too; may be repeated\n"
               "     --config=FILE        Read this file instead of %s/manholed.conf\n"
               "     --record=WHERE       journal, file:DIR or none\n"
               "     --log-level=LEVEL    err, warning, notice, info or debug\n"
               "     --check-config       Read the configuration, print its rules and what is wrong, and exit\n"
               "     --explain=USER:PID   Say what the rules let a user do to a process, and exit\n"
               "  -h --help               Show this help\n"
               "     --version            Show the version\n\n"
               "See manholed(8).\n",
               SYSCONFDIR);
}

enum {
        ARG_CONTROL = 0x100,
        ARG_SCAN,
        ARG_CONFIG,
        ARG_RECORD,
        ARG_LOG_LEVEL,
        ARG_CHECK,
        ARG_EXPLAIN,
        ARG_VERSION,
};

/* 1: go on; 0: done; negative: usage. */
static int parse_argv(int argc, char **argv) {
        static const struct option options[] = {
                { "control", required_argument, NULL, ARG_CONTROL },
                { "scan", required_argument, NULL, ARG_SCAN },
                { "config", required_argument, NULL, ARG_CONFIG },
                { "record", required_argument, NULL, ARG_RECORD },
                { "log-level", required_argument, NULL, ARG_LOG_LEVEL },
                { "check-config", no_argument, NULL, ARG_CHECK },
                { "explain", required_argument, NULL, ARG_EXPLAIN },
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, ARG_VERSION },
                {},
        };
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case ARG_CONTROL:
                        free(arg_control);
                        arg_control = strdup(optarg);
                        break;
                case ARG_SCAN:
                        if (config_add_scan(&arg_scan, optarg) < 0)
                                return -ENOMEM;
                        break;
                case ARG_CONFIG:
                        arg_config = optarg;
                        break;
                case ARG_RECORD:
                        arg_record = optarg;
                        break;
                case ARG_LOG_LEVEL:
                        arg_log_level = optarg;
                        break;
                case ARG_CHECK:
                        arg_check = true;
                        break;
                case ARG_EXPLAIN:
                        if (explain_parse(optarg, &arg_explain) < 0) {
                                fprintf(stderr, "manholed: --explain=USER:PID, not '%s'\n", optarg);
                                return -EINVAL;
                        }
                        arg_check = true;
                        break;
                case 'h':
                        help();
                        return 0;
                case ARG_VERSION:
                        printf("manholed %s\n", PACKAGE_VERSION);
                        return 0;
                default:
                        return -EINVAL;
                }
        if (optind < argc) {
                fprintf(stderr, "manholed: unexpected argument '%s'\n", argv[optind]);
                return -EINVAL;
        }
        return 1;
}

/* Where an ordinary user's things go: the XDG base directory specification. */
static int user_path(const char *variable, const char *below_home, const char *name, char **ret) {
        const char *base = getenv(variable), *home = getenv("HOME");
        int n = -1;

        if (base && base[0] == '/')
                n = asprintf(ret, "%s/%s", base, name);
        else if (below_home && home && home[0] == '/')
                n = asprintf(ret, "%s/%s/%s", home, below_home, name);
        else
                return -ENXIO;
        return n < 0 ? -ENOMEM : 0;
}

static int default_control(void) {
        if (arg_control)
                return 0;
        if (geteuid() == 0)
                return (arg_control = strdup("/run/manholed/control")) ? 0 : -ENOMEM;
        return user_path("XDG_RUNTIME_DIR", NULL, "manholed/control", &arg_control);
}

static int default_record(Config *config) {
        _cleanup_free_ char *folder = NULL, *where = NULL;
        int r;

        if (config->record)
                return 0;
        if (geteuid() == 0)
                return config_set_record(config, "journal");
        r = user_path("XDG_STATE_HOME", ".local/state", "manholed", &folder);
        if (r < 0)
                return r;
        return asprintf(&where, "file:%s", folder) < 0 ? -ENOMEM : config_set_record(config, where);
}

/* Options are stronger than files. */
static int load(Config *config) {
        IniError error;
        int r = config_load(config, arg_config, &error);

        if (r < 0) {
                log_error("%s", r == -ENOMEM ? strerror(ENOMEM) : error.text);
                return r;
        }
        if (arg_log_level && log_level_from_string(arg_log_level, &config->log_level) < 0) {
                log_error("--log-level=%s is not a level", arg_log_level);
                return -EINVAL;
        }
        if (arg_record)
                r = config_set_record(config, arg_record);
        for (size_t i = 0; r == 0 && i < arg_scan.n_scan; i++)
                r = config_add_scan(config, arg_scan.scan[i]);
        if (r == 0)
                r = config_add_scan(config, "/tmp");
        return r ?: default_record(config);
}

static int check_policy(Policy *policy) {
        resolve_policy(policy);
        rule_warn(policy);
        if (arg_explain.pid > 0)
                return explain(policy, &arg_explain, stdout);
        rule_print_all(policy, stdout);
        return 0;
}

static int run(void) {
        _cleanup_(config_done) Config config;
        Manager *m = NULL;
        int r;

        config_init(&config);
        r = load(&config);
        if (r == -ENXIO)
                log_error("Neither XDG_STATE_HOME nor HOME is set: give --record=");
        if (r < 0)
                return r;
        if (arg_check)
                return check_policy(&config.policy);
        r = default_control();
        if (r < 0 && sd_listen_fds(0) == 0) {
                log_error("XDG_RUNTIME_DIR is not set: give --control=");
                return r;
        }
        r = manager_new(&config, load, &m);
        if (r == 0)
                r = manager_run(m, arg_control);
        manager_free(m);
        return r;
}

int main(int argc, char **argv) {
        int r;

        config_init(&arg_scan);
        r = parse_argv(argc, argv);
        if (r > 0) {
                (void)signal(SIGPIPE, SIG_IGN);
                descriptors_raise_limit();
                r = run() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        } else
                r = r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
        config_done(&arg_scan);
        free(arg_control);
        return r;
}
