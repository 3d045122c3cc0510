/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manholectl metrics: manholed's counts, in the text format of OpenMetrics. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/buffer.h"
#include "cli/connection.h"
#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/target.h"
#include "lib/cleanup.h"

#define ANSWER_USEC (30 * USEC_PER_SEC)
#define INTEGERS_END 0x1p53 /* up to here a double has every integer */

/* Backslash, quote and line end are escaped: the last is one already, as is all that a terminal obeys. */
static void print_text(json_t *value) {
        _cleanup_free_ char *text = target_text_of(value);

        for (const char *p = text; *p; p++)
                (void)printf(*p == '\\' || *p == '"' ? "\\%c" : "%c", *p);
}

static void print_labels(json_t *labels) {
        const char *key, *before = "{";
        json_t *value;

        json_object_foreach(labels, key, value) {
                _cleanup_free_ char *name = escape_new(key);

                (void)printf("%s%s=\"", before, name);
                print_text(value);
                (void)printf("\"");
                before = ",";
        }
        if (json_object_size(labels) > 0)
                (void)printf("}");
}

static void print_value(double value) {
        bool integer = fabs(value) < INTEGERS_END && value == floor(value);

        (void)printf(integer ? " %.0f\n" : " %.9g\n", value);
}

static void print_metric(json_t *metric) {
        _cleanup_free_ char *name = target_text(metric, "name"), *kind = target_text(metric, "kind");
        const char *suffix = strcmp(kind, "counter") == 0 ? "_total" : "";
        json_t *samples = json_object_get(metric, "samples");

        (void)printf("# TYPE %s %s\n# HELP %s ", name, kind, name);
        print_text(json_object_get(metric, "help"));
        (void)printf("\n");
        for (size_t i = 0; i < json_array_size(samples); i++) {
                json_t *sample = json_array_get(samples, i);

                (void)printf("%s%s", name, suffix);
                print_labels(json_object_get(sample, "labels"));
                print_value(json_number_value(json_object_get(sample, "value")));
        }
}

int verb_metrics(const Options *options, int n_words, char **words) {
        _cleanup_(connection_done) Connection connection = CONNECTION_INIT;
        json_t *reply = NULL, *metrics;
        int r;

        r = connection_open(&connection, options->control);
        if (r == EXIT_DONE)
                r = connection_call(&connection, "Metrics", json_object(), deadline_in(ANSWER_USEC), &reply);
        if (r != EXIT_DONE)
                return r;

        metrics = json_object_get(reply, "metrics");
        if (!json_is_array(metrics))
                (void)json_object_set_new(reply, "metrics", metrics = json_array());
        if (options->json != JSON_OFF)
                json_print(metrics, options->json);
        else {
                for (size_t i = 0; i < json_array_size(metrics); i++)
                        print_metric(json_array_get(metrics, i));
                (void)printf("# EOF\n");
        }
        json_decref(reply);
        return EXIT_DONE;
}
