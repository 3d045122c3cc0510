/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manholectl status: one target, and what stands in the way of a console in it. */
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

static void print_status(json_t *status) {
        json_t *target = json_object_get(status, "target");
        _cleanup_free_ char *comm = target_text(target, "comm"), *pid = target_text(target, "pid"),
                            *user = target_user(target), *uid = target_text(target, "uid"),
                            *rule = target_text(status, "rule");

        (void)printf("%s(%s)\n", comm, pid);
        print_member(target, "State", "state");
        (void)printf("%*s: %s (uid %s)\n", LABEL_WIDTH, "User", user, uid);
        print_member(target, "Unit", "unit");
        print_member(target, "Command", "command");
        print_member(target, "Python", "python");
        print_member(target, "Agent", "agent");
        print_member(target, "Socket", "socket");
        print_member(target, "Sessions", "sessions");
        (void)printf("%*s: %s (%s)\n", LABEL_WIDTH, "Access",
                     json_is_true(json_object_get(status, "allowed")) ? "allowed" : "refused", rule);
        print_member(status, "Recording", "recording");
        print_member(status, "Diagnosis", "diagnosis");
}

int verb_status(const Options *options, int n_words, char **words) {
        _cleanup_(connection_done) Connection connection = CONNECTION_INIT;
        json_t *status = NULL;
        int r;

        r = connection_open(&connection, options->control);
        if (r == EXIT_DONE)
                r = connection_call(&connection, "Status", target_parameters(words[0]),
                                    deadline_in(ANSWER_USEC), &status);
        if (r != EXIT_DONE)
                return r;

        if (options->json != JSON_OFF)
                json_print(status, options->json);
        else
                print_status(status);
        json_decref(status);
        return EXIT_DONE;
}
