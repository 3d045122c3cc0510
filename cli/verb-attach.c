/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manholectl attach: a console in a target. */
#include <stdio.h>
#include <string.h>

#include "cli/buffer.h"
#include "cli/console.h"
#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/target.h"
#include "lib/cleanup.h"

#define ANSWER_USEC (30 * USEC_PER_SEC)

/* Who the other side is, and whether somebody will read it: before anything is typed. On stderr,
 * so that a console without a terminal has nothing but the console on stdout. */
static void introduce(const Session *s) {
        _cleanup_free_ char *comm = NULL, *user = NULL, *unit = NULL, *python = NULL, *id = NULL,
                            *recording = NULL;

        if (!s->target) {
                (void)fprintf(stderr, "Process %d, without manholed: this session is not recorded.\n",
                              (int)s->pid);
                return;
        }
        comm = target_text(s->target, "comm");
        user = target_user(s->target);
        unit = target_text(s->target, "unit");
        python = target_text(s->target, "python");
        id = escape_new(s->id);
        recording = escape_new(s->recording);
        (void)fprintf(stderr, "%s(%d) of %s%s%s, Python %s%s\n", comm, (int)s->pid, user,
                      strcmp(unit, "-") == 0 ? "" : ", unit ", strcmp(unit, "-") == 0 ? "" : unit, python,
                      s->channel.framed ? "" : ", the pure-Python manhole");
        if (strcmp(s->recording, "none") == 0)
                (void)fprintf(stderr, "Session %s, not recorded.\n", id);
        else
                (void)fprintf(stderr, "Session %s, recorded: %s.\n", id, recording);
}

static void introduce_others(const Session *s) {
        for (size_t i = 0; i < json_array_size(s->others); i++) {
                json_t *other = json_array_get(s->others, i);
                _cleanup_free_ char *user = target_user(other), *since = target_text(other, "since"),
                                    *id = target_text(other, "session");
                const char *state = json_string_value(json_object_get(other, "state"));

                (void)fprintf(stderr, "Also here: %s since %s, session %s%s.\n", user, since, id,
                              state && strcmp(state, "lingering") == 0 ? ", lingering" : "");
        }
}

/* Its user knows what it is: what has happened meanwhile is of interest. */
static int resume(Session *s, const Options *options, uint64_t deadline) {
        _cleanup_free_ char *id = NULL, *comm = NULL;
        int r;

        if (options->direct) {
                message_error("a session without manholed cannot be taken up again");
                return EXIT_USAGE;
        }
        r = session_resume(s, options->control, options->resume, deadline);
        if (r != EXIT_DONE)
                return r;
        id = escape_new(s->id);
        comm = target_text(s->target, "comm");
        (void)fprintf(stderr, "Session %s, in %s(%d), goes on.\n", id, comm, (int)s->pid);
        if (s->missed > 0)
                (void)fprintf(stderr, "[%llu bytes of output meanwhile were too many to be shown here]\n",
                              (unsigned long long)s->missed);
        introduce_others(s);
        return EXIT_DONE;
}

int verb_attach(const Options *options, int n_words, char **words) {
        _cleanup_(session_done) Session session = SESSION_INIT;
        uint64_t deadline = deadline_in(ANSWER_USEC);
        int r;

        if (options->resume) {
                r = resume(&session, options, deadline);
                if (r != EXIT_DONE)
                        return r;
                return console_run(&session.channel, session.pid, session.request, session.id);
        }
        if (n_words == 0) {
                message_error("attach needs TARGET");
                return EXIT_USAGE;
        }
        if (options->direct)
                r = session_open_direct(&session, words[0], deadline);
        else
                r = session_open(&session, options->control, words[0], options->reason, true, deadline);
        if (r != EXIT_DONE)
                return r;

        introduce(&session);
        introduce_others(&session);
        return console_run(&session.channel, session.pid, 0, session.id);
}
