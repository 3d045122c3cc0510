/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* What the command line asks for, and the verbs it can name. */

#include <stdbool.h>
#include <stdint.h>

typedef enum JsonMode {
        JSON_OFF,
        JSON_SHORT_LINE,
        JSON_PRETTY,
} JsonMode;

typedef struct Options {
        const char *control; /* path of the daemon's socket; never NULL for a verb */
        JsonMode json;
        bool legend, pager;
        const char *reason;    /* attach, exec, terminate; may be NULL */
        const char *resume;    /* attach; may be NULL */
        bool direct;           /* attach, stacks */
        bool all, locals;      /* stacks */
        const char *file;      /* exec; may be NULL */
        bool watch;            /* list */
        uint64_t timeout_usec; /* exec; 0 means none */
        bool verify;           /* replay, and these: */
        double speed;
        const char *cast, *directory; /* may be NULL */
} Options;

/* Options that only some verbs take. */
enum {
        TAKES_JSON = 1 << 0,
        TAKES_REASON = 1 << 1,
        TAKES_DIRECT = 1 << 2,
        TAKES_FILE = 1 << 3,
        TAKES_TIMEOUT = 1 << 4,
        TAKES_RESUME = 1 << 5,
        TAKES_ALL = 1 << 6,
        TAKES_LOCALS = 1 << 7,
        TAKES_WATCH = 1 << 8,
        TAKES_REPLAY = 1 << 9,
};

/* A verb gets the words behind its name and returns an ExitStatus, having said what went wrong. */
typedef struct Verb {
        const char *name;
        int (*run)(const Options *options, int n_words, char **words);
        const char *words; /* those it takes, for messages */
        int min_words, max_words;
        unsigned takes;
} Verb;

int verb_attach(const Options *options, int n_words, char **words);
int verb_exec(const Options *options, int n_words, char **words);
int verb_health(const Options *options, int n_words, char **words);
int verb_list(const Options *options, int n_words, char **words);
int verb_metrics(const Options *options, int n_words, char **words);
int verb_replay(const Options *options, int n_words, char **words);
int verb_sessions(const Options *options, int n_words, char **words);
int verb_stacks(const Options *options, int n_words, char **words);
int verb_status(const Options *options, int n_words, char **words);
int verb_tasks(const Options *options, int n_words, char **words);
int verb_terminate(const Options *options, int n_words, char **words);
int verb_watch(const Options *options, int n_words, char **words);
