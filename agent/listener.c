/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/listener.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/consoles.h"
#include "agent/figures.h"
#include "agent/io.h"
#include "agent/log.h"
#include "agent/thread.h"
#include "agent/wake.h"

#define LATER_STACK_SIZE (256U * 1024U)
#define STOP_NSEC INT64_C(1000000000)
#define STOP_CONSOLES_NSEC INT64_C(200000000)

static struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool opening;       /* a thread is between bind() and telling so */
        unsigned n_changes; /* of the socket: what was to be opened later, and is it still wanted? */
        bool finished;      /* the process ends: no socket any more */
} listener = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
};

/* @n_changes: gives up if the endpoint has changed since it was that. */
static int open_endpoint(const char *path, const Service *service, const unsigned *n_changes) {
        Endpoint endpoint = ENDPOINT_INIT;
        char own_path[64];
        int r;

        if (path == NULL) {
                snprintf(own_path, sizeof(own_path), "/tmp/manhole-%ld", (long)getpid());
                path = own_path;
        }
        r = endpoint_open(&endpoint, path, service->root_only);
        if (r < 0) {
                log_line("Failed to bind %s: %s", path, strerror(-r));
                return r;
        }

        pthread_mutex_lock(&listener.lock);
        if (listener.finished || (n_changes != NULL && *n_changes != listener.n_changes)) {
                pthread_mutex_unlock(&listener.lock);
                endpoint_close(&endpoint);
                return -ECANCELED;
        }
        listener.n_changes++;
        r = io_listen_consume(&endpoint, service);
        pthread_mutex_unlock(&listener.lock);

        if (r < 0) {
                log_line("Failed to serve %s: %s", path, strerror(-r));
                return r;
        }
        log_line("Manhole UDS path: %s", path);
        log_line("Waiting for new connection (in pid:%ld) ...", (long)getpid());
        return 0;
}

int listener_open(const char *path, const Service *service) {
        return io_listens() ? -EALREADY : open_endpoint(path, service, NULL);
}

typedef struct Later {
        struct timespec at;
        unsigned n_changes;
        Service service;
} Later;

static void *later_main(void *arg) {
        Later later = *(Later *)arg;
        bool wanted;

        free(arg);
        thread_set_name("Manhole");
        /* Again after a signal: a short sleep would leave a socket to a child that is about to exec. */
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &later.at, NULL) == EINTR)
                ;

        /* listener_stop() waits for this, or the process could end with a file it does not know of. */
        pthread_mutex_lock(&listener.lock);
        wanted = !listener.finished && listener.n_changes == later.n_changes;
        listener.opening = wanted;
        pthread_mutex_unlock(&listener.lock);
        if (!wanted)
                return NULL;
        (void)open_endpoint(NULL, &later.service, &later.n_changes);
        pthread_mutex_lock(&listener.lock);
        listener.opening = false;
        pthread_cond_broadcast(&listener.changed);
        pthread_mutex_unlock(&listener.lock);
        return NULL;
}

int listener_open_later(double delay_sec, const Service *service) {
        Later *later = malloc(sizeof(*later));
        int64_t at = clock_now_ns() + (int64_t)(delay_sec * 1e9);
        int r;

        if (later == NULL)
                return -ENOMEM;
        *later = (Later){
                .at = { .tv_sec = at / 1000000000, .tv_nsec = at % 1000000000 },
                .service = *service,
        };
        pthread_mutex_lock(&listener.lock);
        later->n_changes = listener.n_changes;
        pthread_mutex_unlock(&listener.lock);
        r = thread_start(later_main, later, LATER_STACK_SIZE);
        if (r < 0)
                free(later);
        return r;
}

void listener_close(void) {
        pthread_mutex_lock(&listener.lock);
        listener.n_changes++;
        io_unlisten();
        pthread_mutex_unlock(&listener.lock);
}

int listener_adopt(Session *s) {
        int r;

        pthread_mutex_lock(&listener.lock);
        r = listener.finished ? -ECANCELED : io_adopt(s);
        pthread_mutex_unlock(&listener.lock);
        return r;
}

bool listener_wait_consoles(int msec) {
        return !io_waits_for_consoles() || consoles_wait(msec);
}

void listener_stop(void) {
        int64_t until = clock_now_ns() + STOP_NSEC;

        pthread_mutex_lock(&listener.lock);
        listener.finished = true;
        while (listener.opening && clock_now_ns() < until)
                (void)thread_wait(&listener.changed, &listener.lock, until - clock_now_ns());
        pthread_mutex_unlock(&listener.lock);

        io_stop(until);
        /* They have been told; one that runs code is left to the interpreter. */
        consoles_stop(clock_now_ns() + STOP_CONSOLES_NSEC);
}

void listener_fork_prepare(void) {
        pthread_mutex_lock(&listener.lock);
        io_fork_prepare();
}

void listener_fork_parent(void) {
        io_fork_parent();
        pthread_mutex_unlock(&listener.lock);
}

void listener_fork_child(Session *current) {
        listener.n_changes++;
        listener.finished = listener.opening = false;
        pthread_mutex_init(&listener.lock, NULL);
        pthread_cond_init(&listener.changed, NULL);
        io_fork_child(current);
        consoles_fork_child();
        figures_fork_child();
        wake_fork_child();
}
