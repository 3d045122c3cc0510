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

struct Piece {
        Piece *next;
        size_t n_data;
        bool copy;
        uint8_t data[];
};

static size_t charge(size_t n) {
        return sizeof(Piece) + FRAME_HEADER_SIZE + n;
}

static size_t piece_charge(const Piece *p) {
        return sizeof(Piece) + FRAME_HEADER_SIZE + p->n_data;
}

bool queue_empty(const Queue *q) {
        return q->head == NULL;
}

bool queue_fits(const Queue *q, size_t n) {
        return queue_empty(q) || q->n_charged + charge(n) <= QUEUE_BYTES_MAX;
}

static int append(Queue *q, uint32_t type, uint32_t id, const void *data, size_t n, bool copy) {
        size_t n_header = q->framed ? FRAME_HEADER_SIZE : 0;
        Piece *piece;

        if (n == 0 && !q->framed)
                return 0;
        piece = malloc(sizeof(*piece) + n_header + n);
        if (piece == NULL)
                return -ENOMEM;
        *piece = (Piece){ .n_data = n_header + n, .copy = copy };
        if (q->framed)
                frame_header_encode(&(FrameHeader){ .length = (uint32_t)n, .type = type, .id = id },
                                    piece->data);
        if (n > 0)
                memcpy(piece->data + n_header, data, n);

        if (q->tail != NULL)
                q->tail->next = piece;
        else
                q->head = piece;
        q->tail = piece;
        q->n_charged += piece_charge(piece);
        if (copy)
                q->n_charged_copies += piece_charge(piece);
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

void queue_push_copy(Queue *q, uint32_t type, uint32_t id, const void *data, size_t n) {
        if (n > QUEUE_COPIES_MAX || q->n_charged_copies + charge(n) > QUEUE_COPIES_MAX ||
            q->n_charged + charge(n) > QUEUE_BYTES_MAX || append_mark(q, id) < 0 ||
            append(q, type, id, data, n, true) < 0)
                q->n_dropped += n;
}

void queue_report_dropped(Queue *q, uint32_t id) {
        if (queue_empty(q))
                (void)append_mark(q, id);
}

size_t queue_peek(const Queue *q, struct iovec *vectors, size_t n_vectors, size_t n_bytes) {
        size_t skip = q->n_head_sent, n = 0;

        for (Piece *p = q->head; p != NULL && n < n_vectors && n_bytes > 0; p = p->next, skip = 0) {
                size_t length = p->n_data - skip;

                if (length > n_bytes)
                        length = n_bytes;
                vectors[n++] = (struct iovec){ .iov_base = p->data + skip, .iov_len = length };
                n_bytes -= length;
        }
        return n;
}

void queue_pop(Queue *q, size_t n) {
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
