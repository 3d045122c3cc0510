/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The agent's own threads: native, detached, deaf to signals.
 *
 * A signal that an application waits for (signalfd, sigwait, a handler) must never land in a
 * thread it does not know about, so every thread here starts with all signals blocked except those
 * that the kernel sends for a fault: were they blocked, the application's faulthandler would print
 * nothing about a crash in a console.
 */

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void *(*ThreadRun)(void *arg);

/* Threads that start from now on block these signals, a bit each from signal 1, instead of all: the
 * application says so (sigmask). Faults are blocked by none. Any thread. */
void thread_block(uint64_t signals);

/*
 * CPython ends threads that come too late by pthread_exit(). The C library loads libgcc_s for that then
 * and there, and aborts the process where it cannot: without a descriptor or memory, or under another
 * root. So it is loaded now, while a fork() waits. Any thread that may take some 0.2 ms.
 */
void thread_prepare_exit(void);

/* Before fork(): waits for a thread_prepare_exit() that is on its way, or the child would have half a
 * library. In the child: forgets it. */
void thread_fork_prepare(void);
void thread_fork_child(void);

/* Starts a detached thread. @stack_size 0 asks for the default. Any thread. 0 or negative errno. */
int thread_start(ThreadRun run, void *arg, size_t stack_size);

/* Waits up to @nsec for @changed, a condition with the default clock. Under @lock. Any thread. False when
 * the time is over. */
bool thread_wait(pthread_cond_t *changed, pthread_mutex_t *lock, int64_t nsec);

/* Names the calling thread for the kernel; cut to 15 bytes. Any thread. */
void thread_set_name(const char *name);

/*
 * User code runs with the signal mask of the process's main thread, so that threads and children
 * it starts do not inherit a full mask: as it was a second ago at most. Calling thread only; without
 * /proc nothing changes.
 */
void thread_mask_as_main(sigset_t *ret_old);
void thread_mask_restore(const sigset_t *old);

/*
 * Runs @run in a short-lived thread that holds the GIL: for the little that a thread which never
 * takes the GIL needs from Python. Any thread, GIL not needed. 0 or negative errno. It is not run when
 * the interpreter ends; what @arg is worth is lost then.
 */
int thread_errand(void (*run)(void *arg), void *arg);
