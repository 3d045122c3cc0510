/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Stacks of many threads and processes, those that are the same shown once. Pure: takes the texts that
 * agents answer (docs/CONSOLE-PROTOCOL.md, Stacks), which are foreign, and makes a text that is safe for
 * a terminal.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/buffer.h"

/* Texts, and how many times each. */
typedef struct Tally {
        struct TallyEntry {
                char *text; /* owned */
                size_t n;
        } * entries;
        size_t n_entries;
} Tally;

typedef enum FoldKind {
        FOLD_THREAD,
        FOLD_TASK,
        FOLD_GREENLET,
} FoldKind;

typedef struct FoldStack {
        FoldKind kind;
        char *key;      /* owned: the body, but for addresses */
        char *body;     /* owned: of the first of them */
        char *label;    /* owned: likewise */
        uint64_t hash;  /* of the key */
        size_t n, seen; /* how many there are; when the first was seen */
        pid_t *pids;    /* owned: each once, as they came */
        size_t n_pids;
        Tally commands, names, states;
} FoldStack;

/* Zeroed memory has none. */
typedef struct Fold {
        FoldStack *stacks; /* owned */
        size_t n_stacks;
        size_t n_threads, n_processes;
        Buffer without_gil, truncated; /* pids, as text */
} Fold;

void fold_done(Fold *f);

/* Adds one process's answer: `target` with `pid` and `comm`, `gil`, `text`, `truncated`. */
void fold_add(Fold *f, json_t *answer);

/* Appends all, the most frequent first; with a @legend of how many. */
void fold_print(Fold *f, bool legend, Buffer *out);
