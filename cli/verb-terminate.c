/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manholectl terminate: ends somebody's session. */
#include <string.h>

#include "cli/connection.h"
#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/options.h"
#include "lib/cleanup.h"

#define ANSWER_USEC (30 * USEC_PER_SEC)

int verb_terminate(const Options *options, int n_words, char **words) {
        _cleanup_(connection_done) Connection connection = CONNECTION_INIT;
        json_t *parameters = json_pack("{s:o}", "session", json_bytes(words[0], strlen(words[0]))),
               *reply = NULL;
        int r;

        if (options->reason)
                (void)json_object_set_new(parameters, "reason",
                                          json_bytes(options->reason, strlen(options->reason)));
        r = connection_open(&connection, options->control);
        if (r != EXIT_DONE) {
                json_decref(parameters);
                return r;
        }
        r = connection_call(&connection, "Terminate", parameters, deadline_in(ANSWER_USEC), &reply);
        if (r == EXIT_DONE)
                json_decref(reply);
        return r;
}
