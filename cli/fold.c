/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/fold.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/message.h"
#include "lib/cleanup.h"

/* In a heading, of many. */
#define PIDS_SHOWN 8U
#define ENTRIES_SHOWN 4U
/* Names and states may all be different. */
#define ENTRIES_MAX 64U

#define RULE "#########"
#define NO_STACK "Threads without a Python stack:"

static char *copy(const char *text, size_t n) {
        char *s = strndup(text, n);

        if (!s)
                message_out_of_memory();
        return s;
}

static void append(Buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(Buffer *out, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;
        int n;

        va_start(args, format);
        n = vasprintf(&text, format, args);
        va_end(args);
        if (n < 0)
                message_out_of_memory();
        buffer_append(out, text, (size_t)n);
}

/* ------------------------------------------------------------------ tally */

static void tally_done(Tally *t) {
        for (size_t i = 0; i < t->n_entries; i++)
                free(t->entries[i].text);
        free(t->entries);
}

static void tally_add(Tally *t, const char *text, size_t n) {
        struct TallyEntry *grown;

        for (size_t i = 0; i < t->n_entries; i++)
                if (strncmp(t->entries[i].text, text, n) == 0 && !t->entries[i].text[n]) {
                        t->entries[i].n++;
                        return;
                }
        if (t->n_entries == ENTRIES_MAX)
                return;
        grown = reallocarray(t->entries, t->n_entries + 1, sizeof(*grown));
        if (!grown)
                message_out_of_memory();
        t->entries = grown;
        t->entries[t->n_entries++] = (struct TallyEntry){ copy(text, n), 1 };
}

static int compare_entries(const void *a, const void *b) {
        const struct TallyEntry *left = a, *right = b;

        if (left->n != right->n)
                return left->n < right->n ? 1 : -1;
        return strcmp(left->text, right->text);
}

/* "a (3), b, c and more"; @n: how many texts there were. */
static void tally_print(Tally *t, size_t n, Buffer *out) {
        if (t->n_entries > 0)
                qsort(t->entries, t->n_entries, sizeof(*t->entries), compare_entries);
        for (size_t i = 0; i < t->n_entries && i < ENTRIES_SHOWN; i++) {
                _cleanup_free_ char *text = escape_new(t->entries[i].text);

                append(out, "%s%s", i > 0 ? ", " : "", text);
                if (t->entries[i].n < n)
                        append(out, " (%zu)", t->entries[i].n);
        }
        if (t->n_entries > ENTRIES_SHOWN)
                append(out, " and more");
}

/* ------------------------------------------------------------------ stacks */

static void stack_done(FoldStack *s) {
        tally_done(&s->commands);
        tally_done(&s->names);
        tally_done(&s->states);
        free(s->key);
        free(s->body);
        free(s->label);
        free(s->pids);
}

void fold_done(Fold *f) {
        for (size_t i = 0; i < f->n_stacks; i++)
                stack_done(&f->stacks[i]);
        free(f->stacks);
        buffer_done(&f->without_gil);
        buffer_done(&f->truncated);
        *f = (Fold){};
}

/* Without addresses: variables of the same kind are the same. */
static char *make_key(const char *body, size_t n, uint64_t *ret_hash) {
        char *key = copy(body, n), *to = key;
        uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

        for (const char *from = key; *from;) {
                *to++ = *from++;
                if (from[-1] == '0' && *from == 'x') {
                        *to++ = *from++;
                        while (isxdigit((unsigned char)*from))
                                from++;
                }
        }
        *to = '\0';
        for (const char *p = key; *p; p++)
                hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
        *ret_hash = hash;
        return key;
}

static FoldStack *find_stack(Fold *f, FoldKind kind, const char *body, size_t n_body) {
        uint64_t hash;
        char *key = make_key(body, n_body, &hash);
        FoldStack *grown;

        for (size_t i = 0; i < f->n_stacks; i++)
                if (f->stacks[i].hash == hash && f->stacks[i].kind == kind &&
                    strcmp(f->stacks[i].key, key) == 0) {
                        free(key);
                        return &f->stacks[i];
                }
        grown = reallocarray(f->stacks, f->n_stacks + 1, sizeof(*grown));
        if (!grown)
                message_out_of_memory();
        f->stacks = grown;
        f->stacks[f->n_stacks] = (FoldStack){
                .kind = kind, .key = key, .body = copy(body, n_body), .hash = hash, .seen = f->n_stacks
        };
        return &f->stacks[f->n_stacks++];
}

/* `Thread 30 "NAME": STATE`, or another kind; a name is between quotes. */
static void add_label(FoldStack *s, const char *label, size_t n) {
        const char *quote = memchr(label, '"', n), *end = label + n, *state;

        state = quote ? memmem(quote, (size_t)(end - quote), "\": ", 3) : memmem(label, n, ": ", 2);
        if (!state)
                return;
        if (quote)
                tally_add(&s->names, quote, (size_t)(state - quote) + 1);
        state += quote ? 3 : 2;
        tally_add(&s->states, state, (size_t)(end - state));
}

typedef struct Process {
        pid_t pid;
        const char *comm;
} Process;

typedef struct Piece {
        FoldKind kind;
        const char *label, *body;
        size_t n_label, n_body;
} Piece;

static void add_piece(Fold *f, Process process, const Piece *piece) {
        FoldStack *s = find_stack(f, piece->kind, piece->body, piece->n_body);

        if (s->n == 0)
                s->label = copy(piece->label, piece->n_label);
        s->n++;
        f->n_threads += piece->kind == FOLD_THREAD;
        add_label(s, piece->label, piece->n_label);
        if (s->n_pids > 0 && s->pids[s->n_pids - 1] == process.pid)
                return;
        s->pids = reallocarray(s->pids, s->n_pids + 1, sizeof(*s->pids));
        if (!s->pids)
                message_out_of_memory();
        s->pids[s->n_pids++] = process.pid;
        tally_add(&s->commands, process.comm, strlen(process.comm));
}

/* ------------------------------------------------------------------- text */

static size_t line_length(const char *line) {
        return strcspn(line, "\n");
}

static const char *next_line(const char *line) {
        line += line_length(line);
        return *line ? line + 1 : line;
}

static bool begins(const char *line, const char *with) {
        return strncmp(line, with, strlen(with)) == 0;
}

static bool is_label(const char *line) {
        return begins(line, "Thread ") || begins(line, "Task ") || begins(line, "Greenlet ");
}

/* A header `######### … #########`, and the lines to the next empty one. Returns what follows. */
static const char *take_block(const char *line, Piece *ret) {
        const char *header = line + strlen(RULE " ");

        *ret = (Piece){ .kind = begins(header, "Task=")       ? FOLD_TASK
                                : begins(header, "Greenlet=") ? FOLD_GREENLET
                                                              : FOLD_THREAD,
                        .label = header,
                        .n_label = line_length(header) };
        if (ret->n_label > strlen(" " RULE))
                ret->n_label -= strlen(" " RULE);
        line = next_line(line);
        if (is_label(line)) {
                ret->label = line;
                ret->n_label = line_length(line);
                line = next_line(line);
        }
        ret->body = line;
        while (*line && *line != '\n' && !begins(line, RULE))
                line = next_line(line);
        ret->n_body = (size_t)(line - ret->body);
        return line;
}

static void add_text(Fold *f, Process process, const char *line) {
        bool no_stack = false;

        while (*line) {
                Piece piece = { .label = line, .n_label = line_length(line), .body = "" };

                if (begins(line, RULE " ")) {
                        line = take_block(line, &piece);
                        add_piece(f, process, &piece);
                        continue;
                }
                if (no_stack && is_label(line))
                        add_piece(f, process, &piece);
                no_stack = (no_stack && *line != '\n') || begins(line, NO_STACK);
                line = next_line(line);
        }
}

void fold_add(Fold *f, json_t *answer) {
        json_t *target = json_object_get(answer, "target");
        const char *text = json_string_value(json_object_get(answer, "text")),
                   *comm = json_string_value(json_object_get(target, "comm"));
        Process process = { .pid = (pid_t)json_integer_value(json_object_get(target, "pid")),
                            .comm = comm ? comm : "?" };

        f->n_processes++;
        add_text(f, process, text ? text : "");
        if (!json_is_true(json_object_get(answer, "gil")))
                append(&f->without_gil, "%s%d", f->without_gil.n > 0 ? ", " : "", (int)process.pid);
        if (json_is_true(json_object_get(answer, "truncated")))
                append(&f->truncated, "%s%d", f->truncated.n > 0 ? ", " : "", (int)process.pid);
}

/* ------------------------------------------------------------------- print */

static int compare_pids(const void *a, const void *b) {
        const pid_t *left = a, *right = b;

        return (*left > *right) - (*left < *right);
}

static int compare_stacks(const void *a, const void *b) {
        const FoldStack *left = a, *right = b;

        if (left->n != right->n)
                return left->n < right->n ? 1 : -1;
        if (left->pids[0] != right->pids[0])
                return compare_pids(left->pids, right->pids);
        return left->seen < right->seen ? -1 : 1;
}

static const char *plural(size_t n, const char *one, const char *many) {
        return n == 1 ? one : many;
}

static const char *kind_name(FoldKind kind, size_t n) {
        static const char *const names[][2] = {
                [FOLD_THREAD] = { "thread", "threads" },
                [FOLD_TASK] = { "task", "tasks" },
                [FOLD_GREENLET] = { "greenlet", "greenlets" },
        };

        return names[kind][n != 1];
}

static void print_heading(FoldStack *s, Buffer *out) {
        if (s->n == 1) {
                _cleanup_free_ char *label = escape_new(s->label);

                append(out, "%d (", (int)s->pids[0]);
                tally_print(&s->commands, 1, out);
                append(out, "): %s\n", label);
                return;
        }
        append(out, "%zu %s of %zu %s (", s->n, kind_name(s->kind, s->n), s->n_pids,
               plural(s->n_pids, "process", "processes"));
        tally_print(&s->commands, s->n_pids, out);
        append(out, "): ");
        for (size_t i = 0; i < s->n_pids && i < PIDS_SHOWN; i++)
                append(out, "%s%d", i > 0 ? ", " : "", (int)s->pids[i]);
        if (s->n_pids > PIDS_SHOWN)
                append(out, " and %zu more", s->n_pids - PIDS_SHOWN);
        append(out, "\n");
        if (s->names.n_entries > 0) {
                tally_print(&s->names, s->n, out);
                append(out, "\n");
        }
        if (s->states.n_entries > 0) {
                tally_print(&s->states, s->n, out);
                append(out, "\n");
        }
}

static void print_body(const FoldStack *s, Buffer *out) {
        for (const char *line = s->body; *line; line = next_line(line)) {
                _cleanup_free_ char *raw = copy(line, line_length(line)), *safe = escape_new(raw);

                append(out, "  %s\n", safe);
        }
        if (!*s->body)
                append(out, "  (no Python stack)\n");
        append(out, "\n");
}

void fold_print(Fold *f, bool legend, Buffer *out) {
        for (size_t i = 0; i < f->n_stacks; i++)
                qsort(f->stacks[i].pids, f->stacks[i].n_pids, sizeof(*f->stacks[i].pids), compare_pids);
        if (f->n_stacks > 0)
                qsort(f->stacks, f->n_stacks, sizeof(*f->stacks), compare_stacks);
        for (size_t i = 0; i < f->n_stacks; i++) {
                print_heading(&f->stacks[i], out);
                print_body(&f->stacks[i], out);
        }
        if (!legend)
                return;
        if (f->without_gil.n > 0)
                append(out, "Taken without the GIL: %s.\n", buffer_string(&f->without_gil));
        if (f->truncated.n > 0)
                append(out, "Cut short: %s.\n", buffer_string(&f->truncated));
        append(out, "%zu distinct %s, %zu %s, %zu %s.\n", f->n_stacks,
               plural(f->n_stacks, "stack", "stacks"), f->n_threads, kind_name(FOLD_THREAD, f->n_threads),
               f->n_processes, plural(f->n_processes, "process", "processes"));
}
