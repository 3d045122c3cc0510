/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the methods share that a target's agent answers: who may ask, how many at once, and the reply.
 * An answer is read when it is the caller's turn: it may be a megabyte of JSON, and the target anybody's.
 */

#include <jansson.h>

#include "daemon/client.h"
#include "daemon/policy.h"
#include "daemon/question.h"

typedef struct Manager Manager;

/* Asks the target that the call names, and replies when the answer has come. */
void asking_begin(Manager *m, Client *c, json_t *parameters, PolicyMode mode, QuestionAsks asks);

/* Replies to the call whose turn it is. */
void asking_take_turn(Manager *m);

/* Of the questions' host; @userdata is the manager. */
void asking_on_answered(Question *q, void *userdata);
void asking_on_failed(Question *q, const char *error, const char *reason, void *userdata);
