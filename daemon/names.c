/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/names.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <search.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/thread.h"
#include "lib/cleanup.h"
#include "lib/escape.h"

/* A name is asked for again after this long, so that a renamed user shows. */
#define NAME_AGE_SEC 300
/* When so many uids are known, all are forgotten: an attacker with many uids costs no memory. */
#define NAMES_MAX 4096U
#define NAME_LENGTH_MAX 64U
#define NSS_BUFFER 65536U

typedef struct Name {
        uid_t uid;
        bool pending;
        bool found;
        time_t asked; /* CLOCK_MONOTONIC */
        char text[NAME_LENGTH_MAX];
} Name;

typedef struct Query {
        STAILQ_ENTRY(Query) link;
        uid_t uid;
        bool found;
        char text[NAME_LENGTH_MAX];
} Query;

typedef STAILQ_HEAD(Queries, Query) Queries;

/* Shared with the thread, which may outlive everything else inside a name service. */
typedef struct Worker {
        pthread_mutex_t lock;
        pthread_cond_t wake;
        Queries asked, answered;
        int event_fd; /* owned */
        bool stop;
        unsigned n_ref;
} Worker;

struct Names {
        Worker *worker;
        struct event *answers; /* owned */
        void *known;           /* tsearch(3) tree of Name */
        unsigned n_known;
        TAILQ_HEAD(, NameWait) waits;
};

static void queries_free(Queries *queries) {
        Query *q;

        while ((q = STAILQ_FIRST(queries))) {
                STAILQ_REMOVE_HEAD(queries, link);
                free(q);
        }
}

static void worker_unref(Worker *w) {
        bool last;

        (void)pthread_mutex_lock(&w->lock);
        last = --w->n_ref == 0;
        (void)pthread_mutex_unlock(&w->lock);
        if (!last)
                return;
        queries_free(&w->asked);
        queries_free(&w->answered);
        (void)fd_close(w->event_fd);
        (void)pthread_cond_destroy(&w->wake);
        (void)pthread_mutex_destroy(&w->lock);
        free(w);
}

static void query_answer(Query *q, char *buffer) {
        struct passwd pw, *found = NULL;

        if (getpwuid_r(q->uid, &pw, buffer, NSS_BUFFER, &found) == 0 && found &&
            strlen(pw.pw_name) < sizeof(q->text)) {
                strcpy(q->text, pw.pw_name);
                q->found = true;
        }
}

static void *worker_main(void *userdata) {
        Worker *w = userdata;
        char *buffer = malloc(NSS_BUFFER);
        uint64_t one = 1;

        (void)pthread_mutex_lock(&w->lock);
        while (!w->stop) {
                Query *q = STAILQ_FIRST(&w->asked);

                if (!q) {
                        (void)pthread_cond_wait(&w->wake, &w->lock);
                        continue;
                }
                STAILQ_REMOVE_HEAD(&w->asked, link);
                (void)pthread_mutex_unlock(&w->lock);
                if (buffer)
                        query_answer(q, buffer);
                (void)pthread_mutex_lock(&w->lock);
                STAILQ_INSERT_TAIL(&w->answered, q, link);
                if (write(w->event_fd, &one, sizeof(one)) < 0)
                        break; /* cannot happen: the counter never fills */
        }
        (void)pthread_mutex_unlock(&w->lock);
        free(buffer);
        worker_unref(w);
        return NULL;
}

static int worker_start(Worker *w) {
        int r;

        w->n_ref++;
        r = thread_start(worker_main, w, 0);
        if (r < 0)
                w->n_ref--;
        return r;
}

static int name_compare(const void *a, const void *b) {
        const Name *x = a, *y = b;

        return (x->uid > y->uid) - (x->uid < y->uid);
}

static Name *name_find(Names *names, uid_t uid) {
        Name key = { .uid = uid };
        Name **node = tfind(&key, &names->known, name_compare);

        return node ? *node : NULL;
}

static time_t now_sec(void) {
        struct timespec ts = {};

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return ts.tv_sec;
}

static void name_ask(Names *names, Name *name) {
        Query *q = calloc(1, sizeof(*q));

        if (!q)
                return;
        q->uid = name->uid;
        name->pending = true;
        name->asked = now_sec();
        (void)pthread_mutex_lock(&names->worker->lock);
        STAILQ_INSERT_TAIL(&names->worker->asked, q, link);
        (void)pthread_cond_signal(&names->worker->wake);
        (void)pthread_mutex_unlock(&names->worker->lock);
}

static Name *name_new(Names *names, uid_t uid) {
        Name *name;

        if (names->n_known >= NAMES_MAX) {
                tdestroy(names->known, free);
                names->known = NULL;
                names->n_known = 0;
        }
        name = calloc(1, sizeof(*name));
        if (!name)
                return NULL;
        name->uid = uid;
        if (!tsearch(name, &names->known, name_compare)) {
                free(name);
                return NULL;
        }
        names->n_known++;
        name_ask(names, name);
        return name;
}

static void names_wake(Names *names, uid_t uid) {
        NameWait *wait = TAILQ_FIRST(&names->waits);

        /* A callback may cancel or add waits, so each turn begins anew. */
        while (wait) {
                if (wait->uid == uid) {
                        names_wait_cancel(wait);
                        wait->done(wait, wait->userdata);
                        wait = TAILQ_FIRST(&names->waits);
                } else
                        wait = TAILQ_NEXT(wait, link);
        }
}

static void names_on_answers(evutil_socket_t fd, short what, void *userdata) {
        Names *names = userdata;
        Queries answered = STAILQ_HEAD_INITIALIZER(answered);
        uint64_t count;
        Query *q;

        if (read(fd, &count, sizeof(count)) < 0)
                return;
        (void)pthread_mutex_lock(&names->worker->lock);
        STAILQ_CONCAT(&answered, &names->worker->answered);
        (void)pthread_mutex_unlock(&names->worker->lock);

        while ((q = STAILQ_FIRST(&answered))) {
                Name *name = name_find(names, q->uid);

                STAILQ_REMOVE_HEAD(&answered, link);
                if (name) {
                        name->pending = false;
                        name->found = q->found;
                        strcpy(name->text, q->text);
                }
                names_wake(names, q->uid);
                free(q);
        }
}

int names_new(struct event_base *loop, Names **ret) {
        Names *names = calloc(1, sizeof(*names));
        Worker *w = calloc(1, sizeof(*w));
        int r;

        if (!names || !w) {
                free(names);
                free(w);
                return -ENOMEM;
        }
        TAILQ_INIT(&names->waits);
        names->worker = w;
        w->n_ref = 1;
        (void)pthread_mutex_init(&w->lock, NULL);
        (void)pthread_cond_init(&w->wake, NULL);
        STAILQ_INIT(&w->asked);
        STAILQ_INIT(&w->answered);
        w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = w->event_fd < 0 ? -errno : worker_start(w);
        if (r < 0)
                goto fail;
        r = -ENOMEM;
        names->answers = event_new(loop, w->event_fd, EV_READ | EV_PERSIST, names_on_answers, names);
        if (!names->answers || event_add(names->answers, NULL) < 0)
                goto fail;
        *ret = names;
        return 0;
fail:
        names_free(names);
        return r;
}

void names_free(Names *names) {
        if (!names)
                return;
        assert(TAILQ_EMPTY(&names->waits));
        if (names->answers)
                event_free(names->answers);
        (void)pthread_mutex_lock(&names->worker->lock);
        names->worker->stop = true;
        (void)pthread_cond_signal(&names->worker->wake);
        (void)pthread_mutex_unlock(&names->worker->lock);
        worker_unref(names->worker);
        tdestroy(names->known, free);
        free(names);
}

const char *names_get(Names *names, uid_t uid) {
        Name *name = name_find(names, uid);

        if (!name) {
                (void)name_new(names, uid);
                return NULL;
        }
        if (!name->pending && now_sec() - name->asked > NAME_AGE_SEC)
                name_ask(names, name);
        return name->found ? name->text : NULL;
}

void names_person(Names *names, uid_t uid, char ret[NAMES_PERSON_MAX]) {
        const char *name = names_get(names, uid);
        char escaped[NAMES_PERSON_MAX - 32];

        if (name) {
                escape_text(escaped, sizeof(escaped), name, strlen(name));
                (void)snprintf(ret, NAMES_PERSON_MAX, "%s (uid %u)", escaped, (unsigned)uid);
        } else
                (void)snprintf(ret, NAMES_PERSON_MAX, "uid %u", (unsigned)uid);
}

bool names_wait(Names *names, NameWait *wait, uid_t uid, void (*done)(NameWait *wait, void *userdata),
                void *userdata) {
        Name *name = name_find(names, uid) ?: name_new(names, uid);

        assert(!wait->names);
        if (!name || !name->pending)
                return false;
        *wait = (NameWait){ .names = names, .uid = uid, .done = done, .userdata = userdata };
        TAILQ_INSERT_TAIL(&names->waits, wait, link);
        return true;
}

void names_wait_cancel(NameWait *wait) {
        if (!wait->names)
                return;
        TAILQ_REMOVE(&wait->names->waits, wait, link);
        wait->names = NULL;
}
