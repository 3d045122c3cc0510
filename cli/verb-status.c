/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manholectl status: one target, and what stands in the way of a console in it; or the broker itself. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/connection.h"
#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/target.h"
#include "lib/cleanup.h"

#define ANSWER_USEC (30 * USEC_PER_SEC)
#define LABEL_WIDTH 12

static void print_line(const char *label, const char *text) {
        (void)printf("%*s: %s\n", LABEL_WIDTH, label, text);
}

static void print_member(json_t *object, const char *label, const char *key) {
        _cleanup_free_ char *text = target_text(object, key);

        if (!json_is_null(json_object_get(object, key)))
                print_line(label, text);
}

/* What one rule decides, with the modes it does so for, unless it decides all. */
static void print_rule(json_t *decisions, size_t first, const char *label) {
        json_t *decision = json_array_get(decisions, first), *other;
        _cleanup_free_ char *rule = target_text(decision, "rule");
        bool is_first = true, is_all = true;
        size_t i;

        (void)printf("%*s%c ", LABEL_WIDTH, label, *label ? ':' : ' ');
        json_array_foreach(decisions, i, other)
                is_all = is_all && json_equal(json_object_get(other, "rule"), json_object_get(decision, "rule"));
        json_array_foreach(decisions, i, other) {
                _cleanup_free_ char *mode = target_text(other, "mode");

                if (is_all || !json_equal(json_object_get(other, "rule"), json_object_get(decision, "rule")))
                        continue;
                (void)printf("%s%s", is_first ? "" : ", ", mode);
                is_first = false;
        }
        (void)printf("%s%s (%s)\n", is_all ? "" : " ",
                     json_is_true(json_object_get(decision, "allowed")) ? "allowed" : "refused", rule);
}

static bool is_told_before(json_t *decisions, size_t n) {
        json_t *rule = json_object_get(json_array_get(decisions, n), "rule");

        for (size_t i = 0; i < n; i++)
                if (json_equal(json_object_get(json_array_get(decisions, i), "rule"), rule))
                        return true;
        return false;
}

static void print_decisions(json_t *decisions) {
        const char *label = "Access";

        for (size_t i = 0; i < json_array_size(decisions); i++)
                if (!is_told_before(decisions, i)) {
                        print_rule(decisions, i, label);
                        label = "";
                }
}

static void print_status(json_t *status) {
        json_t *target = json_object_get(status, "target");
        _cleanup_free_ char *comm = target_text(target, "comm"), *pid = target_text(target, "pid"),
                            *user = target_user(target), *uid = target_text(target, "uid");

        (void)printf("%s(%s)\n", comm, pid);
        print_member(target, "State", "state");
        (void)printf("%*s: %s (uid %s)\n", LABEL_WIDTH, "User", user, uid);
        print_member(target, "Unit", "unit");
        print_member(target, "Command", "command");
        print_member(status, "Executable", "executable");
        print_member(target, "Python", "python");
        print_member(target, "Agent", "agent");
        print_member(target, "Socket", "socket");
        print_member(target, "Sessions", "sessions");
        print_decisions(json_object_get(status, "modes"));
        print_member(status, "Recording", "recording");
        print_member(status, "Diagnosis", "diagnosis");
}

static void print_list(json_t *object, const char *label, const char *key) {
        json_t *array = json_object_get(object, key);

        for (size_t i = 0; i < json_array_size(array); i++) {
                _cleanup_free_ char *text = target_text_of(json_array_get(array, i));

                (void)printf("%*s%c %s\n", LABEL_WIDTH, i == 0 ? label : "", i == 0 ? ':' : ' ', text);
        }
}

static void print_records(json_t *records) {
        _cleanup_free_ char *since = target_text(records, "since");

        if (json_is_object(records))
                (void)printf("%*s: since %s%s\n", LABEL_WIDTH, "Records", since,
                             json_is_true(json_object_get(records, "volatile")) ? ", in memory only" : "");
}

static void print_broker(const Options *options, json_t *status) {
        _cleanup_free_ char *version = target_text(status, "version"), *pid = target_text(status, "pid");

        (void)printf("manholed %s (%s)\n", version, pid);
        print_line("Control", options->control);
        print_member(status, "Since", "since");
        print_member(status, "Recording", "recording");
        print_records(json_object_get(status, "records"));
        print_list(status, "Looks into", "folders");
        print_member(status, "Rules", "rules");
        print_member(status, "Targets", "targets");
        print_member(status, "Sessions", "sessions");
        print_list(status, "Problem", "problems");
}

int verb_status(const Options *options, int n_words, char **words) {
        _cleanup_(connection_done) Connection connection = CONNECTION_INIT;
        json_t *status = NULL;
        int r;

        r = connection_open(&connection, options->control);
        if (r == EXIT_DONE && n_words == 0)
                r = connection_call(&connection, "BrokerStatus", json_object(), deadline_in(ANSWER_USEC), &status);
        else if (r == EXIT_DONE)
                r = connection_call(&connection, "Status", target_parameters(words[0]),
                                    deadline_in(ANSWER_USEC), &status);
        if (r != EXIT_DONE)
                return r;

        if (options->json != JSON_OFF)
                json_print(status, options->json);
        else if (n_words == 0)
                print_broker(options, status);
        else
                print_status(status);
        json_decref(status);
        return EXIT_DONE;
}
