/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The kernel's account of this process's threads, from /proc/self/task. Needs no GIL; no Python API.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum TaskGil {
        TASK_GIL_UNKNOWN,
        TASK_HAS_GIL,
        TASK_WAITS_FOR_GIL,
} TaskGil;

typedef struct Task {
        pid_t id;
        uintptr_t thread_id; /* as Python knows it; 0 where that is not known */
        char state;          /* as in proc(5) */
        char name[16];
        char syscall[32]; /* which it is in, or empty */
        char wchan[40];   /* where in the kernel it sleeps, or empty */
        uintptr_t futex;  /* the address that it waits for in a futex, or 0 */
        TaskGil gil;      /* see holder_mark() */
} Task;

/* By their ids. The caller frees @ret. 0 or negative errno. */
int task_list(Task **ret, size_t *ret_n);

/* The same without what the kernel says of each; task_look() reads that, and returns false for one
 * that is gone. */
int task_list_ids(Task **ret, size_t *ret_n);
bool task_look(Task *t);

/*
 * Finds which tasks the threads are whose ids Python knows. A thread id points to what the C library
 * keeps of the thread, and there is its task's id somewhere: where it is in the calling thread's own,
 * it is in the others'. Nothing is believed that does not fit all of them.
 */
void task_identify(Task *tasks, size_t n_tasks, const uintptr_t *thread_ids, size_t n_thread_ids);

/* Copies what is at an address of our own that may not be there any more. How many bytes were. */
size_t task_peek(uintptr_t address, void *buffer, size_t n);

#define TASK_DESCRIPTION_MAX 128

/* Its name in quotes, without control characters. */
void task_quote(const Task *t, char *buffer, size_t n);

/* "sleeping in futex (futex_wait), waits for the GIL". */
void task_describe(const Task *t, char *buffer, size_t n);
