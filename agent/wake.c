/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/wake.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Longer than a burst of print(), shorter than anybody notices. */
#define SOON_NSEC 10000000

static struct {
        pthread_mutex_t lock; /* leaf: nothing is called under it */
        int fd;               /* owned; -1 when closed */
        int timer_fd;         /* owned; -1 when closed */
        atomic_bool rung;     /* and not yet cleared: once is enough */
        atomic_bool soon;     /* the timer runs */
} wake = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1, .timer_fd = -1 };

int wake_open(int epoll_fd) {
        struct epoll_event event = { .events = EPOLLIN };
        int r = 0;

        pthread_mutex_lock(&wake.lock);
        wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        wake.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (wake.fd < 0 || wake.timer_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake.fd, &event) < 0 ||
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake.timer_fd, &event) < 0)
                r = -errno;
        atomic_store(&wake.rung, false);
        atomic_store(&wake.soon, false);
        pthread_mutex_unlock(&wake.lock);
        return r;
}

void wake_close(void) {
        pthread_mutex_lock(&wake.lock);
        if (wake.fd >= 0)
                close(wake.fd);
        if (wake.timer_fd >= 0)
                close(wake.timer_fd);
        wake.fd = wake.timer_fd = -1;
        pthread_mutex_unlock(&wake.lock);
}

void wake_ring(void) {
        if (atomic_exchange(&wake.rung, true))
                return;
        pthread_mutex_lock(&wake.lock);
        if (wake.fd >= 0)
                (void)!write(wake.fd, &(uint64_t){ 1 }, sizeof(uint64_t));
        pthread_mutex_unlock(&wake.lock);
}

void wake_ring_soon(void) {
        if (atomic_load(&wake.soon) || atomic_exchange(&wake.soon, true))
                return;
        pthread_mutex_lock(&wake.lock);
        if (wake.timer_fd >= 0)
                (void)timerfd_settime(wake.timer_fd, 0,
                                      &(struct itimerspec){ .it_value.tv_nsec = SOON_NSEC }, NULL);
        pthread_mutex_unlock(&wake.lock);
}

void wake_clear(void) {
        (void)!read(wake.fd, &(uint64_t){ 0 }, sizeof(uint64_t));
        atomic_store(&wake.rung, false);
        if (read(wake.timer_fd, &(uint64_t){ 0 }, sizeof(uint64_t)) > 0)
                atomic_store(&wake.soon, false);
}

void wake_fork_child(void) {
        pthread_mutex_init(&wake.lock, NULL);
        wake_close();
}
