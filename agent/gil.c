/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/gil.h"

#include <pthread.h>

static struct {
        pthread_mutex_t lock; /* leaf: nothing is called under it */
        pthread_cond_t changed;
        unsigned n_on_their_way;
        bool closed;
} gil = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

bool gil_take(PyGILState_STATE *ret) {
        bool closed;

        pthread_mutex_lock(&gil.lock);
        closed = gil.closed;
        if (!closed)
                gil.n_on_their_way++;
        pthread_mutex_unlock(&gil.lock);
        if (closed)
                return false;

        *ret = PyGILState_Ensure();

        pthread_mutex_lock(&gil.lock);
        gil.n_on_their_way--;
        pthread_cond_broadcast(&gil.changed);
        pthread_mutex_unlock(&gil.lock);
        return true;
}

void gil_close(void) {
        pthread_mutex_lock(&gil.lock);
        gil.closed = true;
        while (gil.n_on_their_way > 0)
                pthread_cond_wait(&gil.changed, &gil.lock);
        pthread_mutex_unlock(&gil.lock);
}

void gil_fork_child(void) {
        pthread_mutex_init(&gil.lock, NULL);
        pthread_cond_init(&gil.changed, NULL);
        gil.n_on_their_way = 0;
        gil.closed = false;
}
