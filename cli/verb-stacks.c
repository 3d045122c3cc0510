/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manholectl stacks: every thread's stack, of one process or of many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/buffer.h"
#include "cli/connection.h"
#include "cli/deadline.h"
#include "cli/direct.h"
#include "cli/exit-status.h"
#include "cli/fold.h"
#include "cli/json-print.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/pager.h"
#include "cli/survey.h"
#include "cli/target.h"
#include "lib/cleanup.h"
#include "lib/parse.h"

#define ANSWER_USEC (30 * USEC_PER_SEC)

static bool is(json_t *target, const char *key, const char *text) {
        const char *value = json_string_value(json_object_get(target, key));

        return value && strcmp(value, text) == 0;
}

static bool is_served(json_t *target) {
        return is(target, "state", "live") || is(target, "state", "stopped");
}

static void add_pid(Survey *s, json_t *target) {
        char number[16];

        (void)snprintf(number, sizeof(number), "%d", (int)target_pid(target));
        survey_add(s, number);
}

/* The pure-Python package cannot be asked, which is no fault of anybody's. */
static void add_all(Survey *s, json_t *targets) {
        size_t i, n_without = 0;
        json_t *target;

        json_array_foreach(targets, i, target) {
                if (!is_served(target))
                        continue;
                if (is(target, "agent", "native"))
                        add_pid(s, target);
                else
                        n_without++;
        }
        if (n_without > 0)
                message_error("not asked: %zu process%s without manholed's agent", n_without,
                              n_without == 1 ? "" : "es");
}

/* As systemctl(1): a unit without a suffix is a service. */
static bool is_unit(json_t *target, const char *word) {
        const char *unit = json_string_value(json_object_get(target, "unit"));
        size_t n = strlen(word);

        return unit && n > 0 && strncmp(unit, word, n) == 0 &&
               (!unit[n] || strcmp(unit + n, ".service") == 0);
}

/* All processes of a unit; else what manholed makes of the word. */
static void add_word(Survey *s, json_t *targets, const char *word) {
        bool found = false;
        json_t *target;
        size_t i;

        json_array_foreach(targets, i, target) {
                if (!is_unit(target, word) || !is_served(target))
                        continue;
                add_pid(s, target);
                found = true;
        }
        if (!found)
                survey_add(s, word);
}

static bool may_be_unit(const char *word) {
        pid_t pid;

        return word[0] != '/' && parse_pid(word, &pid) < 0;
}

static int find_targets(const Options *options, int n_words, char **words, Survey *s) {
        _cleanup_(connection_done) Connection connection = CONNECTION_INIT;
        bool list = options->all;
        json_t *reply = NULL;
        int r = EXIT_DONE;

        for (int i = 0; i < n_words; i++)
                list |= may_be_unit(words[i]);
        if (list)
                r = connection_open(&connection, options->control);
        if (list && r == EXIT_DONE)
                r = connection_call(&connection, "List", json_object(), deadline_in(ANSWER_USEC), &reply);
        if (r != EXIT_DONE)
                return r;
        if (options->all)
                add_all(s, json_object_get(reply, "targets"));
        for (int i = 0; i < n_words; i++)
                add_word(s, json_object_get(reply, "targets"), words[i]);
        json_decref(reply);
        return EXIT_DONE;
}

static int ask(const Options *options, int n_words, char **words, Survey *s) {
        json_t *parameters = json_object();
        int r;

        if (!parameters)
                message_out_of_memory();
        if (options->locals)
                (void)json_object_set_new(parameters, "locals", json_true());
        r = find_targets(options, n_words, words, s);
        if (r == EXIT_DONE && s->n > 0)
                survey_run(s, options->control, "Stacks", parameters);
        json_decref(parameters);
        return r;
}

static void ask_directly(const Options *options, int n_words, char **words, Survey *s) {
        if (options->all)
                direct_list(s);
        for (int i = 0; i < n_words; i++)
                survey_add(s, words[i]);
        if (s->n > 0)
                survey_run_direct(s, CONSOLE_STACKS, options->locals ? "locals=yes\n" : "");
}

static void print_json(const Options *options, const Survey *s) {
        json_t *answers = json_array();

        for (size_t i = 0; answers && i < s->n; i++)
                if (s->answers[i])
                        (void)json_array_append(answers, s->answers[i]);
        if (!answers)
                message_out_of_memory();
        json_print(answers, options->json);
        json_decref(answers);
}

static void print_text(const Options *options, const Survey *s) {
        _cleanup_(buffer_done) Buffer text = {};
        _cleanup_(fold_done) Fold fold = {};
        size_t n_lines = 0;
        Pager pager;

        for (size_t i = 0; i < s->n; i++)
                if (s->answers[i])
                        fold_add(&fold, s->answers[i]);
        if (fold.n_processes > 0)
                fold_print(&fold, options->legend, &text);
        else if (s->n == 0 && options->legend)
                (void)printf("No targets.\n");
        for (size_t i = 0; i < text.n; i++)
                n_lines += text.data[i] == '\n';
        pager_open(&pager, options->pager, n_lines);
        if (text.n > 0)
                (void)fwrite(text.data, 1, text.n, stdout);
        pager_close(&pager);
}

int verb_stacks(const Options *options, int n_words, char **words) {
        _cleanup_(survey_done) Survey survey = {};
        int r = EXIT_DONE;

        if (options->all == (n_words > 0)) {
                message_error("stacks takes TARGET... or --all");
                return EXIT_USAGE;
        }
        if (options->direct)
                ask_directly(options, n_words, words, &survey);
        else
                r = ask(options, n_words, words, &survey);
        if (r != EXIT_DONE)
                return r;
        if (options->json != JSON_OFF)
                print_json(options, &survey);
        else
                print_text(options, &survey);
        return survey.status;
}
