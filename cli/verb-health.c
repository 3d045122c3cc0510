/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manholectl health: how a process is, in numbers. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/buffer.h"
#include "cli/connection.h"
#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/options.h"
#include "cli/target.h"
#include "lib/cleanup.h"

#define ANSWER_USEC (30 * USEC_PER_SEC)
#define LABEL_WIDTH 12
#define MIB (1024.0 * 1024.0)

static void print_line(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print_line(const char *label, const char *format, ...) {
        va_list args;

        (void)printf("%*s: ", LABEL_WIDTH, label);
        va_start(args, format);
        (void)vprintf(format, args);
        va_end(args);
        (void)printf("\n");
}

static long long integer(json_t *object, const char *key) {
        return (long long)json_integer_value(json_object_get(object, key));
}

static bool is_known(json_t *object, const char *key) {
        return json_is_number(json_object_get(object, key));
}

static void print_collector(json_t *gc) {
        json_t *counts = json_object_get(gc, "counts"), *count;
        size_t i;

        (void)printf("%*s: %s", LABEL_WIDTH, "Collector",
                     json_is_true(json_object_get(gc, "enabled")) ? "on" : "off");
        json_array_foreach(counts, i, count) {
                (void)printf("%s%lld", i > 0 ? ", " : "; counts ", (long long)json_integer_value(count));
        }
        (void)printf("\n");
}

static void print_loop(json_t *loop) {
        if (is_known(loop, "lag_ms"))
                print_line("Loop", "%.1f ms late, %lld tasks",
                           json_number_value(json_object_get(loop, "lag_ms")), integer(loop, "tasks"));
        else
                print_line("Loop", "more than 100 ms late, %lld tasks", integer(loop, "tasks"));
}

static void print_python(json_t *answer) {
        json_t *python = json_object_get(answer, "python");
        _cleanup_free_ char *version = target_text(python, "version");

        if (!json_is_object(python)) {
                print_line("Interpreter", "busy: the GIL was not to be had within 300 ms");
                return;
        }
        print_line("Interpreter", "%s; the GIL was to be had after %.1f ms", version,
                   json_number_value(json_object_get(python, "gil_wait_ms")));
        if (json_is_object(json_object_get(python, "gc")))
                print_collector(json_object_get(python, "gc"));
        if (json_is_object(json_object_get(python, "loop")))
                print_loop(json_object_get(python, "loop"));
}

static void print_health(json_t *answer) {
        json_t *target = json_object_get(answer, "target");
        _cleanup_free_ char *comm = target_text(target, "comm"), *pid = target_text(target, "pid"),
                            *version = target_text(answer, "version");

        (void)printf("%s(%s)\n", comm, pid);
        if (is_known(answer, "uptime"))
                print_line("Uptime", "%.1f s", json_number_value(json_object_get(answer, "uptime")));
        if (is_known(answer, "rss"))
                print_line("Memory", "%.1f MiB", (double)integer(answer, "rss") / MIB);
        if (is_known(answer, "threads"))
                print_line("Threads", "%lld", integer(answer, "threads"));
        if (is_known(answer, "descriptors") && is_known(answer, "descriptors_max"))
                print_line("Descriptors", "%lld of %lld", integer(answer, "descriptors"),
                           integer(answer, "descriptors_max"));
        print_python(answer);
        print_line("Agent", "%s; %lld connections, %lld consoles", version, integer(answer, "connections"),
                   integer(answer, "consoles"));
        if (integer(answer, "dropped") > 0)
                print_line("Dropped", "%lld bytes of output", integer(answer, "dropped"));
}

int verb_health(const Options *options, int n_words, char **words) {
        _cleanup_(connection_done) Connection connection = CONNECTION_INIT;
        json_t *answer = NULL;
        int r;

        r = connection_open(&connection, options->control);
        if (r == EXIT_DONE)
                r = connection_call(&connection, "Health", target_parameters(words[0]),
                                    deadline_in(ANSWER_USEC), &answer);
        if (r != EXIT_DONE)
                return r;

        if (options->json != JSON_OFF)
                json_print(answer, options->json);
        else
                print_health(answer);
        json_decref(answer);
        return EXIT_DONE;
}
