/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manholectl replay: a recorded session, shown again, or held against itself. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/buffer.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/logged.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/replay.h"
#include "lib/cleanup.h"

/* The session's file in @folder; NULL when there is none. The caller's. */
static char *find_cast(const char *folder, const char *session) {
        char *path;

        if (asprintf(&path, "%s/%s.cast", folder, session) < 0)
                message_out_of_memory();
        if (access(path, F_OK) == 0)
                return path;
        free(path);
        return NULL;
}

/* Where a user's own manholed puts its files (manholed(8)). The caller's, or NULL. */
static char *own_folder(void) {
        const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
        char *folder;

        if (!state && !home)
                return NULL;
        if (asprintf(&folder, "%s%s/manholed", state ?: home, state ? "" : "/.local/state") < 0)
                message_out_of_memory();
        return folder;
}

static int read_record(Logged *l, const Options *options, const char *word) {
        _cleanup_free_ char *own = options->directory ? NULL : own_folder(), *path = NULL;
        const char *folder = options->directory ?: own;

        if (strchr(word, '/'))
                return logged_from_cast(l, word);
        if (!*word || word[strspn(word, "0123456789abcdef")]) {
                message_error(
                        "a session's id is hexadecimal, and a file's path has a slash in it: %s is neither",
                        word);
                return EXIT_USAGE;
        }
        path = folder ? find_cast(folder, word) : NULL;
        return path ? logged_from_cast(l, path) : logged_from_journal(l, word, options->directory);
}

static void collect(const char *text, void *userdata) {
        (void)json_array_append_new(userdata, json_string(text));
}

static void print_verdict(const char *id, const Logged *l, const RecordSum *sum, json_t *findings) {
        _cleanup_free_ char *user = escape_new(l->user ?: "?"), *comm = escape_new(l->comm ?: "?");

        printf("Session %s of %s in %s(%" PRIu64 "): %zu records, %" PRIu64 " bytes of input%s, %" PRIu64
               " of output%s.\n",
               id, user, comm, l->pid, l->n, sum->bytes[RECORD_OF_INPUT],
               sum->omitted[RECORD_OF_INPUT] ? " (not recorded)" : "", sum->bytes[RECORD_OF_OUTPUT],
               sum->omitted[RECORD_OF_OUTPUT] ? " (not recorded)" : "");
        for (size_t i = 0; i < json_array_size(findings); i++)
                printf("  %s\n", json_string_value(json_array_get(findings, i)));
        puts(sum->n_findings == 0 ? "Nothing is missing." : "The record is not complete.");
}

static int verify(const Options *options, const char *id, const Logged *l) {
        RecordSeen *seen = calloc(l->n + 1, sizeof(*seen));
        json_t *findings = json_array();
        RecordSum sum;

        if (!seen || !findings)
                message_out_of_memory();
        for (size_t i = 0; i < l->n; i++)
                seen[i] = l->records[i].seen;
        record_check(seen, l->n, collect, findings, &sum);
        free(seen);
        if (options->json == JSON_OFF)
                print_verdict(id, l, &sum, findings);
        else {
                json_t *report =
                        json_pack("{s:o, s:b, s:I, s:I, s:I, s:O}", "session", json_bytes(id, strlen(id)),
                                  "complete", sum.n_findings == 0, "records", (json_int_t)l->n, "input",
                                  (json_int_t)sum.bytes[RECORD_OF_INPUT], "output",
                                  (json_int_t)sum.bytes[RECORD_OF_OUTPUT], "findings", findings);

                json_print(report, options->json);
                json_decref(report);
        }
        json_decref(findings);
        return sum.n_findings == 0 ? EXIT_DONE : EXIT_FAILED;
}

int verb_replay(const Options *options, int n_words, char **words) {
        _cleanup_(logged_done) Logged logged = {};
        int r;

        if (options->verify && options->cast) {
                message_error("replay takes one of --verify and --cast");
                return EXIT_USAGE;
        }
        if (options->json != JSON_OFF && !options->verify) {
                message_error("replay takes --json with --verify only");
                return EXIT_USAGE;
        }
        r = read_record(&logged, options, words[0]);
        if (r != EXIT_DONE)
                return r;
        if (options->verify)
                return verify(options, words[0], &logged);
        if (options->cast)
                return replay_write_cast(&logged, options->cast);
        return replay_play(&logged, options->speed);
}
