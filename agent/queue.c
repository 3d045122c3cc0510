/* SPDX-License-Identifier: BSD-2-Clause */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/queue.h"
#include "lib/console.h"
#include "lib/frame.h"

/* What small pieces share: little, since two kinds that take turns share nothing. */
#define SHARED_SIZE 1024U

struct Piece {
        Piece *next;
        size_t n_data, n_allocated;
        uint32_t type, id;
        bool copy;
        bool sealed; /* nothing joins it any more */
        uint8_t data[];
};

/* At most so much. */
static size_t charge(size_t n) {
        return sizeof(Piece) + (FRAME_HEADER_SIZE + n < SHARED_SIZE ? SHARED_SIZE : FRAME_HEADER_SIZE + n);
}

static size_t piece_charge(const Piece *p) {
        return sizeof(Piece) + p->n_allocated;
}

bool queue_empty(const Queue *q) {
        return q->head == NULL;
}

bool queue_fits(const Queue *q, size_t n) {
        return queue_empty(q) || q->n_charged + charge(n) <= QUEUE_BYTES_MAX;
}

static void seal_header(const Queue *q, Piece *p) {
        if (q->framed)
                frame_header_encode(&(FrameHeader){ .length = (uint32_t)(p->n_data - FRAME_HEADER_SIZE),
                                                    .type = p->type,
                                                    .id = p->id },
                                    p->data);
}

/* Output joins output; any other frame means something by itself. */
static bool shares(const Queue *q, uint32_t type) {
        return !q->framed || type == CONSOLE_OUTPUT || type == CONSOLE_STDERR;
}

static bool joins(const Queue *q, uint32_t type, uint32_t id, size_t n, bool copy) {
        const Piece *p = q->tail;

        return p != NULL && !p->sealed && p->copy == copy && p->n_allocated - p->n_data >= n &&
               shares(q, type) && (!q->framed || (p->type == type && p->id == id));
}

static Piece *piece_new(size_t n_allocated) {
        Piece *p = malloc(sizeof(*p) + n_allocated);

        if (p != NULL)
                *p = (Piece){ .n_allocated = n_allocated };
        return p;
}

static void account(Queue *q, const Piece *p, size_t n_bytes) {
        q->n_bytes += n_bytes;
        q->n_charged += piece_charge(p);
        if (p->copy)
                q->n_charged_copies += piece_charge(p);
}

static int append(Queue *q, uint32_t type, uint32_t id, const void *data, size_t n, bool copy) {
        size_t n_header = q->framed ? FRAME_HEADER_SIZE : 0, n_piece = n_header + n;
        Piece *piece;

        if (n == 0 && !q->framed)
                return 0;
        if (joins(q, type, id, n, copy)) {
                memcpy(q->tail->data + q->tail->n_data, data, n);
                q->tail->n_data += n;
                q->n_bytes += n;
                return 0;
        }

        piece = piece_new(n_piece < SHARED_SIZE && shares(q, type) ? SHARED_SIZE : n_piece);
        if (piece == NULL)
                return -ENOMEM;
        piece->n_data = n_piece;
        piece->type = type;
        piece->id = id;
        piece->copy = copy;
        if (n > 0)
                memcpy(piece->data + n_header, data, n);

        if (q->tail != NULL)
                q->tail->next = piece;
        else
                q->head = piece;
        q->tail = piece;
        account(q, piece, piece->n_data);
        return 0;
}

static int append_mark(Queue *q, uint32_t id) {
        char text[96];
        int n, r;

        if (q->n_dropped == 0)
                return 0;
        n = snprintf(text, sizeof(text),
                     q->framed ? "{\"bytes\":%" PRIu64 "}"
                               : "\n[manhole: %" PRIu64 " bytes of other threads' output dropped]\n",
                     q->n_dropped);
        r = append(q, CONSOLE_DROPPED, id, text, (size_t)n, false);
        if (r == 0)
                q->n_dropped = 0;
        return r;
}

int queue_push(Queue *q, uint32_t type, uint32_t id, const void *data, size_t n) {
        int r;

        assert(n <= FRAME_PAYLOAD_MAX);

        r = append_mark(q, id);
        if (r < 0)
                return r;
        return append(q, type, id, data, n, false);
}

bool queue_push_copy(Queue *q, uint32_t type, uint32_t id, const void *data, size_t n) {
        bool fits = q->n_dropped == 0 && joins(q, type, id, n, true);

        if (!fits)
                fits = n <= QUEUE_COPIES_MAX && q->n_charged_copies + charge(n) <= QUEUE_COPIES_MAX &&
                       q->n_charged + charge(n) <= QUEUE_BYTES_MAX;
        if (fits && append_mark(q, id) == 0 && append(q, type, id, data, n, true) == 0)
                return true;
        q->n_dropped += n;
        return false;
}

void queue_report_dropped(Queue *q, uint32_t id) {
        if (queue_empty(q))
                (void)append_mark(q, id);
}

int queue_put_first(Queue *q, const void *data, size_t n) {
        Piece *piece;

        assert(q->n_head_sent == 0);
        if (n == 0)
                return 0;
        piece = piece_new(n);
        if (piece == NULL)
                return -ENOMEM;
        memcpy(piece->data, data, n);
        piece->n_data = n;
        piece->sealed = true;
        piece->next = q->head;
        q->head = piece;
        if (q->tail == NULL)
                q->tail = piece;
        account(q, piece, n);
        return 0;
}

size_t queue_peek(Queue *q, struct iovec *vectors, size_t n_vectors, size_t n_bytes) {
        size_t skip = q->n_head_sent, n = 0;

        for (Piece *p = q->head; p != NULL && n < n_vectors && n_bytes > 0; p = p->next, skip = 0) {
                size_t length = p->n_data - skip;

                if (!p->sealed) {
                        p->sealed = true;
                        seal_header(q, p);
                }
                if (length > n_bytes)
                        length = n_bytes;
                vectors[n++] = (struct iovec){ .iov_base = p->data + skip, .iov_len = length };
                n_bytes -= length;
        }
        return n;
}

void queue_pop(Queue *q, size_t n) {
        q->n_bytes -= n;
        while (n > 0) {
                Piece *p = q->head;
                size_t left;

                assert(p != NULL);
                left = p->n_data - q->n_head_sent;
                if (n < left) {
                        q->n_head_sent += n;
                        return;
                }
                n -= left;
                q->n_head_sent = 0;
                q->n_charged -= piece_charge(p);
                if (p->copy)
                        q->n_charged_copies -= piece_charge(p);
                q->head = p->next;
                if (q->head == NULL)
                        q->tail = NULL;
                free(p);
        }
}

void queue_clear(Queue *q) {
        while (q->head != NULL) {
                Piece *p = q->head;

                q->head = p->next;
                free(p);
        }
        *q = (Queue){ .framed = q->framed };
}
