/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/thread.h"

#include <pthread.h>
#include <signal.h>

int thread_start(void *(*run)(void *userdata), void *userdata, size_t stack_size) {
        pthread_attr_t attr;
        sigset_t all, old;
        pthread_t thread;
        int r;

        (void)sigfillset(&all);
        (void)pthread_attr_init(&attr);
        (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        if (stack_size > 0)
                (void)pthread_attr_setstacksize(&attr, stack_size);
        (void)pthread_sigmask(SIG_SETMASK, &all, &old);
        r = pthread_create(&thread, &attr, run, userdata);
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
        (void)pthread_attr_destroy(&attr);
        return -r;
}
