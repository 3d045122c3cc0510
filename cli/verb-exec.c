/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manholectl exec: runs code in a target and prints what it prints. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/deadline.h"
#include "cli/execution.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/session.h"
#include "lib/cleanup.h"

#define READ_SIZE 65536U
#define ANSWER_USEC (30 * USEC_PER_SEC)

/* All of @fd, but no more than a frame can carry. */
static int read_code(int fd, const char *name, Buffer *code) {
        for (;;) {
                ssize_t n;

                buffer_reserve(code, READ_SIZE);
                n = read(fd, code->data + code->n, READ_SIZE);
                if (n == 0)
                        return EXIT_DONE;
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        message_error("cannot read %s: %s", name, strerror(errno));
                        return EXIT_FAILED;
                }
                code->n += (size_t)n;
                if (code->n > FRAME_PAYLOAD_MAX)
                        return EXIT_DONE;
        }
}

static int get_code(const Options *options, int n_words, char **words, Buffer *code) {
        _cleanup_fd_ int fd = -1;
        int r = EXIT_DONE;

        if ((n_words == 2) == (options->file != NULL)) {
                message_error("exec takes one of CODE, -f FILE and -");
                return EXIT_USAGE;
        }
        if (!options->file && strcmp(words[1], "-") != 0) {
                buffer_append(code, words[1], strlen(words[1]));
        } else if (!options->file || strcmp(options->file, "-") == 0) {
                r = read_code(STDIN_FILENO, "standard input", code);
        } else {
                fd = open(options->file, O_RDONLY | O_CLOEXEC);
                if (fd < 0) {
                        message_error("cannot open %s: %s", options->file, strerror(errno));
                        return EXIT_FAILED;
                }
                r = read_code(fd, options->file, code);
        }
        if (r == EXIT_DONE && code->n > FRAME_PAYLOAD_MAX) {
                message_error("the code is longer than %u bytes", FRAME_PAYLOAD_MAX);
                r = EXIT_FAILED;
        }
        return r;
}

int verb_exec(const Options *options, int n_words, char **words) {
        _cleanup_(session_done) Session session = SESSION_INIT;
        _cleanup_(execution_done) Execution execution;
        _cleanup_(buffer_done) Buffer code = {};
        uint64_t deadline = options->timeout_usec > 0 ? deadline_in(options->timeout_usec) : DEADLINE_NEVER;
        uint64_t patience = deadline_in(ANSWER_USEC);
        int r;

        execution_init(&execution, &session.channel, options->json == JSON_OFF);
        r = get_code(options, n_words, words, &code);
        if (r != EXIT_DONE)
                return r;

        r = session_open(&session, options->control, words[0], options->reason, false,
                         patience < deadline ? patience : deadline);
        if (r != EXIT_DONE)
                return r;
        if (!session.channel.framed) {
                message_error("process %d has the pure-Python manhole: exec needs manholed's agent",
                              (int)session.pid);
                return EXIT_FAILED;
        }

        r = execution_run(&execution, session.pid, code.data, code.n, deadline);
        if (options->json != JSON_OFF && (execution.ended || r == EXIT_TIMED_OUT)) {
                json_t *report = execution_report(&execution);

                json_print(report, options->json);
                json_decref(report);
        }
        return r;
}
