/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/asking.h"

#include <stdio.h>
#include <string.h>

#include "daemon/access.h"
#include "daemon/descriptors.h"
#include "daemon/errors.h"
#include "daemon/manager.h"
#include "lib/escape.h"

/* Each takes a thread of the target's for a moment, and two descriptors of ours. */
#define QUESTIONS_PER_TARGET_MAX 32U
#define QUESTIONS_PER_TARGET_OF_USER_MAX 8U
#define QUESTIONS_PER_USER_MAX 256U

/* What stands in the way of one question more; NULL when nothing does. */
static const char *find_limit(const Manager *m, const Client *c, const Target *t) {
        unsigned n = 0, n_here = 0;
        Question *q;

        TAILQ_FOREACH(q, &m->questions, link)
                if (q->uid == c->peer.uid) {
                        n++;
                        n_here += q->target == t;
                }
        if (n >= QUESTIONS_PER_USER_MAX)
                return "this user has too many questions that are not answered yet";
        if (n_here >= QUESTIONS_PER_TARGET_OF_USER_MAX)
                return "this user has too many questions to the target that are not answered yet";
        if (t->n_questions >= QUESTIONS_PER_TARGET_MAX)
                return "too many questions to the target are not answered yet";
        if (!descriptors_are_left(c->fd, DESCRIPTORS_FOR_SESSIONS))
                return "the broker has as many connections as it can serve";
        return NULL;
}

void asking_begin(Manager *m, Client *c, json_t *parameters, PolicyMode mode, QuestionAsks asks) {
        Target *t = access_find_target(m, c, parameters);
        const char *limit;

        if (!t || !access_allows(m, c, t, mode) || !access_has_agent(c, t))
                return;
        limit = find_limit(m, c, t);
        if (limit) {
                client_error(c, ERROR_TOO_MANY_SESSIONS, "reason", limit);
                return;
        }
        if (question_new(&m->question_host, t, &c->peer, asks, c, &c->question) < 0) {
                client_error(c, ERROR_TOO_MANY_SESSIONS, "reason", "the daemon is out of memory");
                return;
        }
        TAILQ_INSERT_TAIL(&m->questions, c->question, link);
}

void asking_on_answered(Question *q, void *userdata) {
        Manager *m = userdata;

        turns_join(&m->answers, q->caller);
        manager_next_turn(m);
}

void asking_on_failed(Question *q, const char *error, const char *reason, void *userdata) {
        Manager *m = userdata;
        Client *c = q->caller;

        turns_leave(&m->answers, c);
        if (strcmp(error, ERROR_TARGET_UNTRUSTED) == 0)
                access_record_denied(m, c, q->target, reason);
        client_error(c, error, "reason", reason);
}

/* Why the agent has no answer. */
static void reply_refusal(Client *c, json_t *answer) {
        const char *error = json_string_value(json_object_get(answer, "error"));
        const char *message = json_string_value(json_object_get(answer, "message")) ?: error;
        char escaped[ACCESS_REASON_MAX / 2], reason[ACCESS_REASON_MAX];

        if (strcmp(error, "busy-interpreter") == 0)
                client_error(c, ERROR_TIMED_OUT, "reason", "the target's interpreter is busy: the GIL was not to "
                                                           "be had within 300 ms");
        else if (strcmp(error, "timed-out") == 0)
                client_error(c, ERROR_TIMED_OUT, "reason", "the target takes too long to answer");
        else if (strcmp(error, "unsupported") == 0)
                client_error(c, ERROR_UNSUPPORTED, "reason", "the target's agent is too old to answer this");
        else {
                (void)escape_text(escaped, sizeof(escaped), message, strlen(message));
                (void)snprintf(reason, sizeof(reason), "the target has no answer: %s", escaped);
                client_error(c, ERROR_TARGET_GONE, "reason", reason);
        }
}

static void conclude(Manager *m, Client *c) {
        Question *q = c->question;
        json_t *answer, *target = access_target_json(m, q->target);
        int r = answer_parse(q->asks.members, q->answer, q->n_answer, &answer);

        question_end(q);
        switch (r) {
        case 0:
                (void)json_object_set_new(answer, "target", target);
                client_reply(c, answer);
                return;
        case ANSWER_E_ERROR:
                reply_refusal(c, answer);
                json_decref(answer);
                break;
        default:
                client_error(c, ERROR_TARGET_GONE, "reason", "the target's answer is not one of the console protocol");
                break;
        }
        json_decref(target);
}

void asking_take_turn(Manager *m) {
        Client *c = turns_next(&m->answers);

        if (!c)
                return;
        turns_leave(&m->answers, c);
        manager_next_turn(m);
        conclude(m, c);
}
