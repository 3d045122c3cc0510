/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The same question to many targets at once: over several connections to manholed, which carry one call
 * at a time each, or to the targets themselves. Says on stderr, of each that has no answer, why.
 */

#include <jansson.h>
#include <stddef.h>

#include "lib/console.h"

typedef struct Survey {
        char **names; /* owned: of targets, as TARGET on the command line; each once */
        size_t n;
        json_t **answers; /* owned: to each; NULL without one */
        int status;       /* an ExitStatus: of the first that went wrong */
} Survey;

/* Zeroed memory is a survey of none. */
void survey_done(Survey *s);
void survey_add(Survey *s, const char *name);

/* Asks manholed to ask; @parameters (borrowed) go with each call, besides `target`. */
void survey_run(Survey *s, const char *control, const char *method, json_t *parameters);

/* Asks the targets: names are PIDs or paths of sockets. An answer's `target` has `pid`, `comm` and `socket`. */
void survey_run_direct(Survey *s, ConsoleRequest request, const char *payload);
