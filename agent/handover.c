/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/handover.h"

#include <pthread.h>

#include "agent/clock.h"
#include "agent/thread.h"

static struct {
        pthread_mutex_t lock; /* leaf */
        pthread_cond_t changed;
        bool waiting;     /* a thread is between _begin and _end */
        bool taken;       /* it has had its session */
        Session *session; /* referenced: left for it */
} handover = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

bool handover_begin(void) {
        bool begun;

        pthread_mutex_lock(&handover.lock);
        begun = !handover.waiting;
        if (begun) {
                handover.waiting = true;
                handover.taken = false;
        }
        pthread_mutex_unlock(&handover.lock);
        return begun;
}

/* Under the lock. */
static Session *take(void) {
        Session *s = handover.session;

        handover.session = NULL;
        return s;
}

Session *handover_wait(int msec) {
        Session *s;

        pthread_mutex_lock(&handover.lock);
        if (handover.session == NULL)
                (void)thread_wait(&handover.changed, &handover.lock, msec * CLOCK_NSEC_PER_MSEC);
        s = take();
        pthread_mutex_unlock(&handover.lock);
        return s;
}

Session *handover_end(void) {
        Session *s;

        pthread_mutex_lock(&handover.lock);
        handover.waiting = false;
        s = take();
        pthread_mutex_unlock(&handover.lock);
        return s;
}

bool handover_offer(Session *s) {
        bool offered;

        pthread_mutex_lock(&handover.lock);
        offered = handover.waiting && !handover.taken;
        if (offered) {
                handover.taken = true;
                handover.session = session_ref(s);
                pthread_cond_broadcast(&handover.changed);
        }
        pthread_mutex_unlock(&handover.lock);
        return offered;
}

void handover_fork_child(void) {
        pthread_mutex_init(&handover.lock, NULL);
        pthread_cond_init(&handover.changed, NULL);
        handover.waiting = handover.taken = false;
        handover.session = NULL;
}
