/* SPDX-License-Identifier: BSD-2-Clause */
#include <Python.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/gil.h"
#include "agent/thread.h"

/* A main thread sets its mask when it starts, if ever; to read it takes longer than a short line. */
#define MASK_AGE_NSEC INT64_C(1000000000)

/* Who forks while a library is loaded in the same thread (from its constructor) would wait for itself. */
#define LOAD_NSEC 50000000

static struct {
        pthread_mutex_t lock; /* leaf: nothing is called under it */
        pthread_cond_t changed;
        unsigned n_loading;
} library = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* A bit each, from signal 1. */
static _Atomic uint64_t blocked = UINT64_MAX;

static void set_mask(uint64_t bits, sigset_t *ret) {
        sigemptyset(ret);
        for (int signal = 1; signal <= 64; signal++)
                if (bits & (UINT64_C(1) << (signal - 1)))
                        sigaddset(ret, signal);
}

void thread_block(uint64_t signals) {
        atomic_store(&blocked, signals);
}

/* What the application blocks in the thread that starts ours it has a reason to. */
static void native_mask(const sigset_t *inherited, sigset_t *ret) {
        static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT };
        sigset_t own;

        set_mask(atomic_load(&blocked), &own);
        sigorset(ret, &own, inherited);
        for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
                sigdelset(ret, faults[i]);
}

bool thread_wait(pthread_cond_t *changed, pthread_mutex_t *lock, int64_t nsec) {
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        nsec += until.tv_nsec;
        until.tv_sec += nsec / CLOCK_NSEC_PER_SEC;
        until.tv_nsec = nsec % CLOCK_NSEC_PER_SEC;
        return pthread_cond_timedwait(changed, lock, &until) == 0;
}

void thread_prepare_exit(void) {
        pthread_mutex_lock(&library.lock);
        library.n_loading++;
        pthread_mutex_unlock(&library.lock);

        (void)dlopen("libgcc_s.so.1", RTLD_NOW);

        pthread_mutex_lock(&library.lock);
        library.n_loading--;
        pthread_cond_broadcast(&library.changed);
        pthread_mutex_unlock(&library.lock);
}

void thread_fork_prepare(void) {
        pthread_mutex_lock(&library.lock);
        while (library.n_loading > 0 && thread_wait(&library.changed, &library.lock, LOAD_NSEC))
                ;
        pthread_mutex_unlock(&library.lock);
}

void thread_fork_child(void) {
        pthread_mutex_init(&library.lock, NULL);
        pthread_cond_init(&library.changed, NULL);
        library.n_loading = 0;
}

int thread_start(ThreadRun run, void *arg, size_t stack_size) {
        pthread_attr_t attributes;
        sigset_t mask, old;
        pthread_t thread;
        int r;

        r = pthread_attr_init(&attributes);
        if (r != 0)
                return -r;
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        if (stack_size > 0)
                pthread_attr_setstacksize(&attributes, stack_size);

        pthread_sigmask(SIG_SETMASK, NULL, &old);
        native_mask(&old, &mask);
        pthread_sigmask(SIG_SETMASK, &mask, NULL);
        r = pthread_create(&thread, &attributes, run, arg);
        pthread_sigmask(SIG_SETMASK, &old, NULL);

        pthread_attr_destroy(&attributes);
        return -r;
}

void thread_set_name(const char *name) {
        prctl(PR_SET_NAME, name);
}

void thread_mask_restore(const sigset_t *old) {
        pthread_sigmask(SIG_SETMASK, old, NULL);
}

/* 0 or -1. */
static int read_main_mask(sigset_t *ret) {
        char buffer[4096], path[64], *line;
        ssize_t n;
        int fd;

        snprintf(path, sizeof(path), "/proc/self/task/%ld/status", (long)getpid());
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -1;
        n = read(fd, buffer, sizeof(buffer) - 1);
        close(fd);
        if (n <= 0)
                return -1;
        buffer[n] = '\0';
        line = strstr(buffer, "\nSigBlk:");
        if (line == NULL)
                return -1;
        set_mask(strtoull(line + strlen("\nSigBlk:"), NULL, 16), ret);
        return 0;
}

void thread_mask_as_main(sigset_t *ret_old) {
        static _Thread_local struct {
                int64_t read_ns; /* 0: never */
                sigset_t mask;
        } last;
        int64_t now = clock_now_ns();

        if (last.read_ns == 0 || now - last.read_ns > MASK_AGE_NSEC) {
                if (read_main_mask(&last.mask) < 0) {
                        pthread_sigmask(SIG_SETMASK, NULL, ret_old);
                        return;
                }
                last.read_ns = now;
        }
        pthread_sigmask(SIG_SETMASK, &last.mask, ret_old);
}

typedef struct Errand {
        void (*run)(void *arg);
        void *arg;
} Errand;

static void *errand_main(void *arg) {
        Errand errand = *(Errand *)arg;
        PyThreadState *state;

        free(arg);
        thread_set_name("Manhole errand");
        if (gil_take(&state)) {
                errand.run(errand.arg);
                gil_give(state);
        }
        return NULL;
}

int thread_errand(void (*run)(void *arg), void *arg) {
        Errand *errand = malloc(sizeof(*errand));
        int r;

        if (errand == NULL)
                return -ENOMEM;
        *errand = (Errand){ .run = run, .arg = arg };
        r = thread_start(errand_main, errand, 0);
        if (r < 0)
                free(errand);
        return r;
}
