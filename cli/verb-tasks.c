/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manholectl tasks: what a process's asyncio tasks wait for, and its greenlets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/buffer.h"
#include "cli/connection.h"
#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/options.h"
#include "cli/pager.h"
#include "cli/target.h"
#include "lib/cleanup.h"

#define ANSWER_USEC (30 * USEC_PER_SEC)
#define LINES_AROUND 2U /* blank line, footer */

static size_t count_lines(const char *text) {
        size_t n = 0;

        while ((text = strchr(text, '\n'))) {
                n++;
                text++;
        }
        return n;
}

static void print_lines(const char *text) {
        while (*text) {
                size_t n = strcspn(text, "\n");
                _cleanup_free_ char *line = strndup(text, n), *safe = line ? escape_new(line) : NULL;

                (void)printf("%s\n", safe ? safe : "");
                text += n + (text[n] == '\n');
        }
}

static void print_footer(json_t *answer) {
        size_t n_tasks = json_array_size(json_object_get(answer, "tasks")),
               n_greenlets = json_array_size(json_object_get(answer, "greenlets"));

        if (n_tasks + n_greenlets > 0)
                (void)printf("\n");
        (void)printf("%zu task%s, %zu greenlet%s", n_tasks, n_tasks == 1 ? "" : "s", n_greenlets,
                     n_greenlets == 1 ? "" : "s");
        if (json_is_true(json_object_get(answer, "truncated")))
                (void)printf(", of %lld", (long long)json_integer_value(json_object_get(answer, "n_all")));
        (void)printf(".\n");
}

static void print_tasks(const Options *options, json_t *answer) {
        const char *text = json_string_value(json_object_get(answer, "text"));
        Pager pager;

        if (!text)
                text = "";
        pager_open(&pager, options->pager, count_lines(text) + LINES_AROUND);
        print_lines(text);
        if (options->legend)
                print_footer(answer);
        pager_close(&pager);
}

int verb_tasks(const Options *options, int n_words, char **words) {
        _cleanup_(connection_done) Connection connection = CONNECTION_INIT;
        json_t *answer = NULL;
        int r;

        r = connection_open(&connection, options->control);
        if (r == EXIT_DONE)
                r = connection_call(&connection, "Tasks", target_parameters(words[0]),
                                    deadline_in(ANSWER_USEC), &answer);
        if (r != EXIT_DONE)
                return r;

        if (options->json != JSON_OFF)
                json_print(answer, options->json);
        else
                print_tasks(options, answer);
        json_decref(answer);
        return EXIT_DONE;
}
