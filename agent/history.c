/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/history.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/frame.h"

/* A byte is six in JSON at most. */
_Static_assert(6 * HISTORY_BYTES_MAX + 3 * HISTORY_ENTRIES_MAX + 1024 < FRAME_PAYLOAD_MAX,
               "the whole history must fit in a frame");

typedef struct Entry {
        TAILQ_ENTRY(Entry) link;
        size_t n;
        char text[];
} Entry;

static struct {
        pthread_mutex_t lock;
        TAILQ_HEAD(Entries, Entry) entries; /* owned; the oldest first */
        size_t n_entries, n_bytes;
} history = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .entries = TAILQ_HEAD_INITIALIZER(history.entries),
};

/* Under the lock. */
static void forget_oldest(void) {
        Entry *e = TAILQ_FIRST(&history.entries);

        TAILQ_REMOVE(&history.entries, e, link);
        history.n_entries--;
        history.n_bytes -= e->n;
        free(e);
}

static bool is_blank(const char *text, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (text[i] != ' ' && text[i] != '\t' && text[i] != '\n')
                        return false;
        return true;
}

/* Under the lock. */
static bool is_last(const char *text, size_t n) {
        const Entry *last = TAILQ_LAST(&history.entries, Entries);

        return last != NULL && last->n == n && memcmp(last->text, text, n) == 0;
}

void history_add(const char *text, size_t n) {
        Entry *e;

        if (is_blank(text, n) || n > HISTORY_BYTES_MAX)
                return;
        e = malloc(sizeof(*e) + n);
        if (e == NULL)
                return;
        e->n = n;
        memcpy(e->text, text, n);

        pthread_mutex_lock(&history.lock);
        if (is_last(text, n))
                free(e);
        else {
                while (history.n_entries == HISTORY_ENTRIES_MAX || history.n_bytes + n > HISTORY_BYTES_MAX)
                        forget_oldest();
                TAILQ_INSERT_TAIL(&history.entries, e, link);
                history.n_entries++;
                history.n_bytes += n;
        }
        pthread_mutex_unlock(&history.lock);
}

void history_write(JsonBuffer *b, size_t n_max) {
        const char *separator = "";
        size_t n_skip;
        Entry *e;

        jsonbuf_raw(b, "[");
        pthread_mutex_lock(&history.lock);
        n_skip = history.n_entries > n_max ? history.n_entries - n_max : 0;
        TAILQ_FOREACH(e, &history.entries, link) {
                if (n_skip > 0) {
                        n_skip--;
                        continue;
                }
                jsonbuf_raw(b, separator);
                (void)jsonbuf_string(b, e->text, e->n, FRAME_PAYLOAD_MAX);
                separator = ",";
        }
        pthread_mutex_unlock(&history.lock);
        jsonbuf_raw(b, "]");
}

void history_fork_prepare(void) {
        pthread_mutex_lock(&history.lock);
}

void history_fork_parent(void) {
        pthread_mutex_unlock(&history.lock);
}

void history_fork_child(void) {
        pthread_mutex_init(&history.lock, NULL);
        while (!TAILQ_EMPTY(&history.entries))
                forget_oldest();
}
