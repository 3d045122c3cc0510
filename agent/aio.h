/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The tasks of asyncio that are not done, of all loops, and which of them waits for which. Looks only
 * where the application has imported asyncio, and runs none of its code: a name or a wait that a class
 * of its own would have to tell is not known. GIL held throughout.
 */

#include <Python.h>

#include <stdbool.h>
#include <stddef.h>

#define AIO_NONE SIZE_MAX

typedef enum AioState {
        AIO_READY, /* to run at the loop's next turn */
        AIO_RUNNING,
        AIO_WAITING,
} AioState;

/* Edges form two lists: of those one task waits for, and of those that wait for one. */
typedef struct AioEdge {
        size_t waiter, awaited;           /* tasks */
        size_t next_awaited, next_waiter; /* edges, or AIO_NONE */
} AioEdge;

typedef struct AioTask {
        PyObject *task;          /* owned */
        PyObject *coroutine;     /* owned; may be NULL */
        PyObject *future;        /* owned: what it waits for, or NULL */
        PyObject *name;          /* owned: an exact str, or NULL */
        unsigned long thread_id; /* of its loop's thread, or 0 */
        AioState state;
        size_t awaited, waiters; /* the first edges, or AIO_NONE */
        bool visited;            /* for whoever walks the tree */
} AioTask;

typedef struct AioTasks {
        AioTask *tasks; /* owned */
        size_t n_tasks, n_left_out;
        AioEdge *edges; /* owned */
        size_t n_edges, n_edges_allocated;
} AioTasks;

#define AIO_TASKS_INIT ((AioTasks){})

/* Without asyncio, and without memory, there are none. Leaves no exception. */
void aio_collect(AioTasks *ret);
void aio_done(AioTasks *a);
