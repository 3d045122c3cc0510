/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * manholectl: lists the Python processes that have a manhole, and opens consoles in them. This
 * file reads the command line; each verb has a file of its own.
 */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/connection.h"
#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/suggest.h"
#include "lib/cleanup.h"

/* Mistakes in a word for which a suggestion is still likely right. */
#define DISTANCE_MAX 2U

static int verb_help(const Options *options, int n_words, char **words);

static const Verb verbs[] = {
        { "list", verb_list, "", 0, 0, TAKES_JSON | TAKES_WATCH },
        { "status", verb_status, "TARGET", 0, 1, TAKES_JSON },
        { "attach", verb_attach, "TARGET", 0, 1, TAKES_REASON | TAKES_DIRECT | TAKES_RESUME },
        { "exec", verb_exec, "TARGET CODE|-", 1, 2, TAKES_JSON | TAKES_FILE | TAKES_TIMEOUT | TAKES_REASON },
        { "stacks", verb_stacks, "TARGET... or --all", 0, INT_MAX, TAKES_JSON | TAKES_DIRECT | TAKES_ALL | TAKES_LOCALS },
        { "tasks", verb_tasks, "TARGET", 1, 1, TAKES_JSON },
        { "health", verb_health, "TARGET", 1, 1, TAKES_JSON },
        { "sessions", verb_sessions, "", 0, 0, TAKES_JSON },
        { "terminate", verb_terminate, "ID", 1, 1, TAKES_REASON },
        { "watch", verb_watch, "ID", 1, 1, 0 },
        { "metrics", verb_metrics, "", 0, 0, TAKES_JSON },
        { "replay", verb_replay, "ID", 1, 1, TAKES_JSON | TAKES_REPLAY },
        { "help", verb_help, "", 0, 0, 0 },
};
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

enum {
        ARG_ALL = 0x100,
        ARG_CAST,
        ARG_CONTROL,
        ARG_DIRECT,
        ARG_DIRECTORY,
        ARG_JSON,
        ARG_LOCALS,
        ARG_NO_LEGEND,
        ARG_NO_PAGER,
        ARG_REASON,
        ARG_RESUME,
        ARG_SPEED,
        ARG_TIMEOUT,
        ARG_VERIFY,
        ARG_VERSION,
        ARG_WATCH,
};

static const struct option long_options[] = {
        { "all", no_argument, NULL, ARG_ALL },
        { "cast", required_argument, NULL, ARG_CAST },
        { "control", required_argument, NULL, ARG_CONTROL },
        { "direct", no_argument, NULL, ARG_DIRECT },
        { "directory", required_argument, NULL, ARG_DIRECTORY },
        { "file", required_argument, NULL, 'f' },
        { "help", no_argument, NULL, 'h' },
        { "json", required_argument, NULL, ARG_JSON },
        { "locals", no_argument, NULL, ARG_LOCALS },
        { "no-legend", no_argument, NULL, ARG_NO_LEGEND },
        { "no-pager", no_argument, NULL, ARG_NO_PAGER },
        { "reason", required_argument, NULL, ARG_REASON },
        { "resume", required_argument, NULL, ARG_RESUME },
        { "speed", required_argument, NULL, ARG_SPEED },
        { "timeout", required_argument, NULL, ARG_TIMEOUT },
        { "verify", no_argument, NULL, ARG_VERIFY },
        { "version", no_argument, NULL, ARG_VERSION },
        { "watch", no_argument, NULL, ARG_WATCH },
        {},
};

static int verb_help(const Options *options, int n_words, char **words) {
        (void)puts("manholectl [OPTIONS] [VERB ...]\n"
                   "\n"
                   "Look into running Python processes.\n"
                   "\n"
                   "Verbs:\n"
                   "  list                     Processes with a manhole (the default)\n"
                   "  status [TARGET]          What is known of one, and what is wrong with it; or of manholed\n"
                   "  attach TARGET            Open a console in it\n"
                   "  exec TARGET CODE         Run code in it; - reads the code from standard input\n"
                   "  stacks TARGET...         Every thread's stack\n"
                   "  tasks TARGET             What asyncio tasks wait for, and greenlets\n"
                   "  health TARGET            How it is, in numbers\n"
                   "  sessions                 Consoles that are open\n"
                   "  watch ID                 Look on at one of them\n"
                   "  terminate ID             End one of them\n"
                   "  metrics                  Counts of manholed, as OpenMetrics\n"
                   "  replay ID                Show a recorded one again\n"
                   "  help                     Show this help\n"
                   "\n"
                   "TARGET is a PID, the path of a socket, a systemd unit, or the name of a process if\n"
                   "only one has it. ID is a session's.\n"
                   "\n"
                   "Options:\n"
                   "  -h, --help               Show this help\n"
                   "      --version            Show the version\n"
                   "      --control=PATH       Where manholed listens (or $MANHOLED_CONTROL)\n"
                   "      --json=MODE          Print JSON: short, pretty or off\n"
                   "  -j                       The same as --json=pretty on a terminal, else --json=short\n"
                   "      --no-legend          Print neither headings nor totals\n"
                   "      --no-pager           Do not use a pager\n"
                   "      --watch              list: go on, with what comes, changes and goes\n"
                   "      --reason=TEXT        attach, exec, terminate: why, for the record\n"
                   "      --resume=ID          attach: take up a session that has lost its client\n"
                   "      --direct             attach, stacks: without manholed, and so without a record\n"
                   "      --all                stacks: of all processes with manholed's agent\n"
                   "      --locals             stacks: with every frame's variables\n"
                   "  -f, --file=FILE          exec: read the code from a file\n"
                   "      --timeout=SECONDS    exec: interrupt the code after this time\n"
                   "      --verify             replay: say whether the record is complete instead\n"
                   "      --speed=FACTOR       replay: so many times as fast as it was\n"
                   "      --cast=FILE          replay: write an asciicast instead\n"
                   "      --directory=DIR      replay: look for the record there\n"
                   "\n"
                   "See manholectl(1) for more.");
        return EXIT_DONE;
}

static int parse_json(const char *text, JsonMode *ret) {
        static const char *const names[] = {
                [JSON_OFF] = "off", [JSON_SHORT_LINE] = "short", [JSON_PRETTY] = "pretty"
        };

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                if (strcmp(text, names[i]) == 0) {
                        *ret = (JsonMode)i;
                        return EXIT_DONE;
                }
        message_error("--json takes short, pretty or off, not '%s'", text);
        return EXIT_USAGE;
}

static int parse_timeout(const char *text, uint64_t *ret_usec) {
        static const double longest = 1e9; /* seconds */
        char *end;
        double seconds = strtod(text, &end);

        if (end == text || *end || !(seconds > 0) || seconds > longest) {
                message_error("--timeout takes a number of seconds, not '%s'", text);
                return EXIT_USAGE;
        }
        *ret_usec = (uint64_t)(seconds * (double)USEC_PER_SEC) + 1; /* 0 would mean none */
        return EXIT_DONE;
}

static int parse_speed(const char *text, double *ret) {
        char *end;
        double speed = strtod(text, &end);

        if (end == text || *end || !(speed >= 0.01) || speed > 1e6) {
                message_error("--speed takes a factor, not '%s'", text);
                return EXIT_USAGE;
        }
        *ret = speed;
        return EXIT_DONE;
}

/* What @option needs of the verb; *ret_name for messages. */
static unsigned option_needs(int option, const char **ret_name) {
        static const struct {
                int option;
                unsigned takes;
                const char *name;
        } needs[] = {
                { ARG_JSON, TAKES_JSON, "--json" },
                { 'j', TAKES_JSON, "-j" },
                { ARG_REASON, TAKES_REASON, "--reason" },
                { ARG_RESUME, TAKES_RESUME, "--resume" },
                { ARG_ALL, TAKES_ALL, "--all" },
                { ARG_DIRECT, TAKES_DIRECT, "--direct" },
                { ARG_LOCALS, TAKES_LOCALS, "--locals" },
                { 'f', TAKES_FILE, "--file" },
                { ARG_TIMEOUT, TAKES_TIMEOUT, "--timeout" },
                { ARG_WATCH, TAKES_WATCH, "--watch" },
                { ARG_VERIFY, TAKES_REPLAY, "--verify" },
                { ARG_SPEED, TAKES_REPLAY, "--speed" },
                { ARG_CAST, TAKES_REPLAY, "--cast" },
                { ARG_DIRECTORY, TAKES_REPLAY, "--directory" },
        };

        for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
                if (needs[i].option == option) {
                        *ret_name = needs[i].name;
                        return needs[i].takes;
                }
        return 0;
}

static int say_bad_option(int c, char **argv) {
        /* A long option's text is the word just passed; of short ones, getopt knows the letter. */
        if (c == ':' && optopt < 0x100)
                message_error("option -%c needs an argument", optopt);
        else if (c == ':')
                message_error("option %s needs an argument", argv[optind - 1]);
        else if (optopt != 0 && optopt < 0x100)
                message_error("unknown option -%c", optopt);
        else if (optopt != 0)
                message_error("option %s takes no argument", argv[optind - 1]);
        else
                message_error("unknown option %s", argv[optind - 1]);
        return EXIT_USAGE;
}

typedef struct CommandLine {
        Options options;
        unsigned used; /* of TAKES_* */
        const char *used_names[8 * sizeof(unsigned)];
        bool help, version;
} CommandLine;

static int parse_option(CommandLine *line, int c, char **argv) {
        Options *o = &line->options;
        const char *name = NULL;
        unsigned need = option_needs(c, &name);

        if (need) {
                line->used |= need;
                line->used_names[__builtin_ctz(need)] = name;
        }
        switch (c) {
        case ARG_ALL:
                o->all = true;
                return EXIT_DONE;
        case ARG_CAST:
                o->cast = optarg;
                return EXIT_DONE;
        case ARG_CONTROL:
                o->control = optarg;
                return EXIT_DONE;
        case ARG_DIRECT:
                o->direct = true;
                return EXIT_DONE;
        case ARG_DIRECTORY:
                o->directory = optarg;
                return EXIT_DONE;
        case 'f':
                o->file = optarg;
                return EXIT_DONE;
        case 'h':
                line->help = true;
                return EXIT_DONE;
        case 'j':
                o->json = isatty(STDOUT_FILENO) ? JSON_PRETTY : JSON_SHORT_LINE;
                return EXIT_DONE;
        case ARG_JSON:
                return parse_json(optarg, &o->json);
        case ARG_LOCALS:
                o->locals = true;
                return EXIT_DONE;
        case ARG_NO_LEGEND:
                o->legend = false;
                return EXIT_DONE;
        case ARG_NO_PAGER:
                o->pager = false;
                return EXIT_DONE;
        case ARG_REASON:
                o->reason = optarg;
                return EXIT_DONE;
        case ARG_RESUME:
                o->resume = optarg;
                return EXIT_DONE;
        case ARG_SPEED:
                return parse_speed(optarg, &o->speed);
        case ARG_TIMEOUT:
                return parse_timeout(optarg, &o->timeout_usec);
        case ARG_VERIFY:
                o->verify = true;
                return EXIT_DONE;
        case ARG_VERSION:
                line->version = true;
                return EXIT_DONE;
        case ARG_WATCH:
                o->watch = true;
                return EXIT_DONE;
        default:
                return say_bad_option(c, argv);
        }
}

static int find_verb(const char *name, const Verb **ret) {
        const Verb *closest = NULL;
        size_t distance = DISTANCE_MAX + 1;

        for (size_t i = 0; i < N_VERBS; i++) {
                size_t d = word_distance(name, verbs[i].name);

                if (d == 0) {
                        *ret = &verbs[i];
                        return EXIT_DONE;
                }
                if (d < distance) {
                        closest = &verbs[i];
                        distance = d;
                }
        }
        if (closest)
                message_error("unknown verb '%s', did you mean '%s'?", name, closest->name);
        else
                message_error("unknown verb '%s'", name);
        return EXIT_USAGE;
}

/* Do words and options fit the verb? */
static int check(const CommandLine *line, const Verb *verb, int n_words) {
        unsigned foreign = line->used & ~verb->takes;

        if (foreign) {
                message_error("%s does not take %s", verb->name, line->used_names[__builtin_ctz(foreign)]);
                return EXIT_USAGE;
        }
        if (n_words < verb->min_words) {
                message_error("%s needs %s", verb->name, verb->words);
                return EXIT_USAGE;
        }
        if (n_words > verb->max_words) {
                message_error("%s takes %s", verb->name, *verb->words ? verb->words : "no arguments");
                return EXIT_USAGE;
        }
        return EXIT_DONE;
}

static int run(int argc, char **argv) {
        CommandLine line = { .options = { .legend = true, .pager = true, .speed = 1 } };
        _cleanup_free_ char *control = connection_default_control();
        const Verb *verb = &verbs[0];
        int c, r;

        line.options.control = getenv("MANHOLED_CONTROL");
        opterr = 0;
        while ((c = getopt_long(argc, argv, ":f:hj", long_options, NULL)) >= 0) {
                r = parse_option(&line, c, argv);
                if (r != EXIT_DONE)
                        return r;
        }
        if (line.help)
                return verb_help(&line.options, 0, NULL);
        if (line.version) {
                (void)puts("manholectl " PACKAGE_VERSION);
                return EXIT_DONE;
        }

        argc -= optind;
        argv += optind;
        if (argc > 0) {
                r = find_verb(argv[0], &verb);
                if (r != EXIT_DONE)
                        return r;
                argc--;
                argv++;
        }
        r = check(&line, verb, argc);
        if (r != EXIT_DONE)
                return r;

        if (!line.options.control || !*line.options.control)
                line.options.control = control;
        return verb->run(&line.options, argc, argv);
}

int main(int argc, char **argv) {
        output_init();
        return output_finish(run(argc, argv));
}
