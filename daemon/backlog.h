/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The last of a session's transcript, for somebody who comes later: bounded, the oldest goes first.
 *
 * The prompt at which the console waits is kept apart: who takes the session up again is given it as a
 * prompt, not as text.
 */

#include <event2/buffer.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/transcript.h"

#define BACKLOG_MAX 65536U
#define BACKLOG_PROMPT_MAX 256U

typedef struct Backlog {
        struct evbuffer *text; /* owned; NULL while nothing is kept */
        uint64_t n_new;        /* bytes since backlog_mark() */
        char prompt[BACKLOG_PROMPT_MAX];
        size_t n_prompt;
        bool prompts; /* a prompt waits for an answer */
} Backlog;

/* 0 or -ENOMEM. */
int backlog_init(Backlog *b);
void backlog_done(Backlog *b);

/* From here on it is new. */
void backlog_mark(Backlog *b);

/* How much of what is new was too much. */
uint64_t backlog_missed(const Backlog *b);

void backlog_add(Backlog *b, const TapPiece *piece, const TranscriptPiece *shown);
