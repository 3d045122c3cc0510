/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/consoles.h"

#include <assert.h>
#include <pthread.h>
#include <stddef.h>

#include "agent/clock.h"
#include "agent/figures.h"
#include "agent/thread.h"

/* At a time. One outlives its connection while it waits for the GIL, or while its code takes no notice of
 * an interrupt; they must not pile up behind clients that try again and again. */
#define CONSOLES_MAX 256U

static struct {
        pthread_mutex_t lock; /* leaf */
        pthread_cond_t changed;
        size_t n, n_brokered; /* of the first, those that keep the process not alive */
        size_t n_left;
} consoles = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
};

bool consoles_begin(const Session *s) {
        bool room;

        pthread_mutex_lock(&consoles.lock);
        room = consoles.n < CONSOLES_MAX;
        consoles.n += room;
        consoles.n_brokered += room && s->brokered;
        pthread_mutex_unlock(&consoles.lock);
        figures_add(FIGURE_CONSOLES, room);
        return room;
}

void consoles_end(const Session *s) {
        pthread_mutex_lock(&consoles.lock);
        assert(consoles.n > 0);
        consoles.n--;
        consoles.n_brokered -= s->brokered;
        figures_add(FIGURE_CONSOLES, -1);
        pthread_cond_broadcast(&consoles.changed);
        pthread_mutex_unlock(&consoles.lock);
}

bool consoles_begin_left(void) {
        bool room;

        pthread_mutex_lock(&consoles.lock);
        room = consoles.n_left < CONSOLES_LEFT_MAX;
        consoles.n_left += room;
        pthread_mutex_unlock(&consoles.lock);
        return room;
}

void consoles_end_left(void) {
        pthread_mutex_lock(&consoles.lock);
        assert(consoles.n_left > 0);
        consoles.n_left--;
        pthread_mutex_unlock(&consoles.lock);
}

bool consoles_wait(int msec) {
        bool over;

        pthread_mutex_lock(&consoles.lock);
        if (consoles.n > consoles.n_brokered)
                (void)thread_wait(&consoles.changed, &consoles.lock, msec * CLOCK_NSEC_PER_MSEC);
        over = consoles.n == consoles.n_brokered;
        pthread_mutex_unlock(&consoles.lock);
        return over;
}

void consoles_stop(int64_t until_ns) {
        pthread_mutex_lock(&consoles.lock);
        while (consoles.n > 0 && clock_now_ns() < until_ns)
                (void)thread_wait(&consoles.changed, &consoles.lock, until_ns - clock_now_ns());
        pthread_mutex_unlock(&consoles.lock);
}

void consoles_fork_child(void) {
        consoles.n = consoles.n_brokered = consoles.n_left = 0;
        pthread_mutex_init(&consoles.lock, NULL);
        pthread_cond_init(&consoles.changed, NULL);
}
