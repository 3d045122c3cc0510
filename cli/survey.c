/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/survey.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "cli/connection.h"
#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/message.h"
#include "lib/cleanup.h"

/* manholed asks no longer than 6 s, once it is this call's turn. */
#define ANSWER_USEC (30 * USEC_PER_SEC)
/* A target whose interpreter is busy takes 300 ms: a hundred of them shall take no second. manholed lets
 * a user have 512 connections. */
#define CONNECTIONS_MAX 64U

void survey_done(Survey *s) {
        for (size_t i = 0; i < s->n; i++) {
                free(s->names[i]);
                if (s->answers)
                        json_decref(s->answers[i]);
        }
        free(s->names);
        free(s->answers);
        *s = (Survey){};
}

void survey_add(Survey *s, const char *name) {
        char **grown;

        for (size_t i = 0; i < s->n; i++)
                if (strcmp(s->names[i], name) == 0)
                        return;
        grown = reallocarray(s->names, s->n + 1, sizeof(*grown));
        if (!grown)
                message_out_of_memory();
        s->names = grown;
        s->names[s->n] = strdup(name);
        if (!s->names[s->n++])
                message_out_of_memory();
}

/* A connection, and what it is used for. */
typedef struct Line {
        Connection connection;
        size_t item; /* whose answer it waits for */
        uint64_t deadline;
        bool waits;
} Line;

typedef struct Round {
        Survey *survey;
        const char *method;
        json_t *parameters;
        Line lines[CONNECTIONS_MAX];
        size_t n_lines, next; /* next: the first item that has not been asked */
} Round;

static void fail(Survey *s, int status) {
        if (s->status == EXIT_DONE)
                s->status = status;
}

static void hang_up(Line *line) {
        connection_done(&line->connection);
        line->connection = CONNECTION_INIT;
        line->waits = false;
}

/* Asks the next one; with nobody left, the line is of no more use. */
static void ask_next(Round *r, Line *line) {
        while (line->connection.fd >= 0 && r->next < r->survey->n) {
                const char *name = r->survey->names[r->next];
                json_t *parameters = json_copy(r->parameters);
                int status;

                if (!parameters)
                        message_out_of_memory();
                (void)json_object_set_new(parameters, "target", json_bytes(name, strlen(name)));
                line->item = r->next++;
                line->deadline = deadline_in(ANSWER_USEC);
                line->waits = true;
                line->connection.about = r->survey->n > 1 ? name : NULL;
                status = connection_send(&line->connection, r->method, parameters, line->deadline);
                if (status == EXIT_DONE)
                        return;
                fail(r->survey, status);
                hang_up(line);
        }
        hang_up(line);
}

static void take_answer(Round *r, Line *line) {
        int status = connection_receive(&line->connection, line->deadline, &r->survey->answers[line->item]);

        if (status != EXIT_DONE)
                fail(r->survey, status);
        ask_next(r, line);
}

static void time_out(Round *r, Line *line) {
        message_error("%s: manholed does not answer", r->survey->names[line->item]);
        fail(r->survey, EXIT_TIMED_OUT);
        hang_up(line);
}

/* True while some line waits. */
static bool step(Round *r) {
        struct pollfd fds[CONNECTIONS_MAX];
        uint64_t deadline = DEADLINE_NEVER;
        struct timespec ts;
        bool waits = false;
        int n;

        for (size_t i = 0; i < r->n_lines; i++) {
                Line *line = &r->lines[i];

                fds[i] = (struct pollfd){ .fd = line->waits ? line->connection.fd : -1, .events = POLLIN };
                waits |= line->waits;
                if (line->waits && line->deadline < deadline)
                        deadline = line->deadline;
        }
        if (!waits)
                return false;
        n = ppoll(fds, r->n_lines, deadline_left(deadline, &ts), NULL);
        for (size_t i = 0; i < r->n_lines; i++)
                if (n > 0 && fds[i].revents)
                        take_answer(r, &r->lines[i]);
                else if (r->lines[i].waits && r->lines[i].deadline <= deadline_now())
                        time_out(r, &r->lines[i]);
        return true;
}

static void open_lines(Round *r, const char *control) {
        size_t wanted = r->survey->n < CONNECTIONS_MAX ? r->survey->n : CONNECTIONS_MAX;

        for (; r->n_lines < wanted; r->n_lines++) {
                Line *line = &r->lines[r->n_lines];
                int status;

                *line = (Line){ .connection = CONNECTION_INIT };
                status = connection_open(&line->connection, control);
                if (status == EXIT_DONE)
                        continue;
                if (r->n_lines == 0)
                        fail(r->survey, status);
                return;
        }
}

void survey_run(Survey *s, const char *control, const char *method, json_t *parameters) {
        Round *r = calloc(1, sizeof(*r));

        s->answers = calloc(s->n + 1, sizeof(*s->answers));
        if (!r || !s->answers)
                message_out_of_memory();
        *r = (Round){ .survey = s, .method = method, .parameters = parameters };
        open_lines(r, control);
        /* All calls are on their way before the first answer is waited for. */
        for (size_t i = 0; i < r->n_lines; i++)
                ask_next(r, &r->lines[i]);
        while (step(r))
                ;
        if (s->status == EXIT_DONE && r->next < s->n) {
                message_error("%zu targets were not asked", s->n - r->next);
                s->status = EXIT_FAILED;
        }
        free(r);
}
