/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What an agent answered to a question, held against what it may answer: pure. The agent may be
 * anybody's; only what the interface (org.manholed.Broker.varlink) has comes through, each with its type.
 * Texts are handed on as they are: they are data.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum {
        _ANSWER_E_SUCCESS,
        ANSWER_E_INVALID, /* no JSON, or not what the protocol says */
        ANSWER_E_ERROR,   /* the agent says that there is no answer, and why */
};

typedef enum AnswerType {
        ANSWER_BOOL,
        ANSWER_INTEGER,
        ANSWER_NUMBER,
        ANSWER_TEXT,
        ANSWER_OBJECT,
        ANSWER_TEXTS,    /* arrays of these */
        ANSWER_INTEGERS,
        ANSWER_OBJECTS,
} AnswerType;

/* A member that an object may have. Ends with a NULL name. */
typedef struct AnswerMember {
        const char *name;
        AnswerType type;
        bool nullable; /* may be null, or missing */
        const struct AnswerMember *members; /* of an object, or of each */
} AnswerMember;

/* docs/CONSOLE-PROTOCOL.md: Stacks, Tasks, Health, and how an exec ended. */
extern const AnswerMember answer_stacks[], answer_tasks[], answer_health[], answer_end[];

/*
 * 0: *ret is the answer, without members that are not known. ANSWER_E_ERROR: *ret is {error, message},
 * both texts. A new reference.
 */
int answer_parse(const AnswerMember *members, const char *bytes, size_t n, json_t **ret);
