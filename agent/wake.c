/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/wake.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct {
        pthread_mutex_t lock; /* leaf: nothing is called under it */
        int fd;               /* owned; -1 when closed */
        atomic_bool rung;     /* and not yet cleared: once is enough */
} wake = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };

int wake_open(void) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        if (fd < 0)
                return -errno;
        pthread_mutex_lock(&wake.lock);
        wake.fd = fd;
        atomic_store(&wake.rung, false);
        pthread_mutex_unlock(&wake.lock);
        return fd;
}

void wake_close(void) {
        pthread_mutex_lock(&wake.lock);
        if (wake.fd >= 0)
                close(wake.fd);
        wake.fd = -1;
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

void wake_clear(void) {
        (void)!read(wake.fd, &(uint64_t){ 0 }, sizeof(uint64_t));
        atomic_store(&wake.rung, false);
}

void wake_fork_child(void) {
        pthread_mutex_init(&wake.lock, NULL);
        wake_close();
}
