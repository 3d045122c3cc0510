/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * One question to a target's agent on behalf of a caller: connects, sends one request, takes the one
 * answer, and closes. No console opens, nothing is logged in the application, and the caller gets no byte
 * of the connection: what came is judged by answer.h.
 *
 * Belongs to an owner, whom it tells how it ended.
 */

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/answer.h"
#include "daemon/dial.h"
#include "daemon/peer.h"
#include "daemon/quota.h"
#include "lib/console.h"
#include "lib/frame.h"

typedef struct Question Question;

/* What questions use of the daemon; all borrowed. */
typedef struct QuestionHost {
        struct event_base *loop;
        Priv *priv;
        Quota *unread; /* bytes that each user has not read yet: answers among them */
        /* The answer has come whole. */
        void (*answered)(Question *q, void *userdata);
        /* There will be none: an error of daemon/errors.h. `ended` follows. */
        void (*failed)(Question *q, const char *error, const char *reason, void *userdata);
        /* It is over; the owner frees it later, from the loop. */
        void (*ended)(Question *q, void *userdata);
        void *userdata;
} QuestionHost;

/* What is asked. */
typedef struct QuestionAsks {
        ConsoleRequest request;
        const char *payload; /* `name=value` lines; static */
        unsigned within_sec; /* from the beginning to the end of the answer */
        const AnswerMember *members; /* of the answer */
} QuestionAsks;

typedef enum QuestionState {
        QUESTION_CONNECTING,
        QUESTION_ASKING,   /* the request has been sent */
        QUESTION_ANSWERED,
        QUESTION_ENDED,
} QuestionState;

struct Question {
        TAILQ_ENTRY(Question) link; /* its owner's */
        const QuestionHost *host;   /* borrowed */
        QuestionAsks asks;
        QuestionState state;
        uid_t uid;      /* of who asks */
        Target *target; /* borrowed; NULL when it is over */
        void *caller;   /* of the owner */
        Dial dial;
        int fd;                          /* owned, while asking */
        struct event *deadline, *readable; /* owned */
        FrameScanner scanner;
        bool greeted;      /* the agent's own first frame is over */
        char *answer;      /* owned; not terminated */
        uint32_t n_answer; /* bytes so far, and with the state ANSWERED all of them */
        uint32_t n_charged;
};

/* Begins. 0 or -ENOMEM. Nothing is called before the loop's next turn. */
int question_new(const QuestionHost *host, Target *target, const Peer *peer, QuestionAsks asks, void *caller,
                 Question **ret);
void question_free(Question *q);

/* Nobody wants the answer any more, or it has been dealt with. Does nothing to one that has ended. */
void question_end(Question *q);

/* The target's file or process is gone. */
void question_target_gone(Question *q);
