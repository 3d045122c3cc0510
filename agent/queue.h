/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What waits to be sent to one client: a bounded list of whole pieces. Pure: no lock, no
 * descriptor, no Python API; the session that owns it locks. Small pieces of one kind share memory, and
 * a frame, until they are about to be sent.
 *
 * Policy for "full": the session's own output waits outside until queue_fits(). Copies of other
 * threads' output get half of the room, so that they cannot crowd out the session's own, and are
 * dropped whole and counted when that is used up; the count becomes a mark in the stream as soon
 * as something is queued after them, or the queue has run empty.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define QUEUE_BYTES_MAX (1024U * 1024U)
#define QUEUE_COPIES_MAX (QUEUE_BYTES_MAX / 2)

typedef struct Piece Piece;

typedef struct Queue {
        Piece *head, *tail; /* owned */
        size_t n_head_sent; /* bytes of the head that are gone already */
        size_t n_bytes;     /* not yet sent */
        size_t n_charged;   /* memory the pieces take */
        size_t n_charged_copies;
        uint64_t n_dropped; /* bytes of copies not yet reported */
        bool framed;
} Queue;

/* Whether the session's own output of @n bytes fits now. */
bool queue_fits(const Queue *q, size_t n);

/*
 * Appends one piece: a frame of this type and id when the queue is framed, else the bytes.
 * 0 or -ENOMEM. Does not look at the room there is.
 */
int queue_push(Queue *q, uint32_t type, uint32_t id, const void *data, size_t n);

/* Appends a copy, or drops and counts it: false. @id is of the console that gets it. */
bool queue_push_copy(Queue *q, uint32_t type, uint32_t id, const void *data, size_t n);

/* Appends the mark for dropped copies, if there are any and all before them was sent. */
void queue_report_dropped(Queue *q, uint32_t id);

/* Puts the rest of a piece that was begun past the queue before all that is in it. 0 or -ENOMEM. */
int queue_put_first(Queue *q, const void *data, size_t n);

/* Points @vectors at up to @n_bytes of what is to be sent first; returns how many it used. The
 * bytes stay where they are until queue_pop(), whatever is pushed meanwhile. */
size_t queue_peek(Queue *q, struct iovec *vectors, size_t n_vectors, size_t n_bytes);

/* Forgets the first @n bytes. */
void queue_pop(Queue *q, size_t n);

bool queue_empty(const Queue *q);
void queue_clear(Queue *q);
