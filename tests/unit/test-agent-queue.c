/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "tests/unit/test.h"

#include "agent/queue.h"
#include "lib/console.h"
#include "lib/frame.h"

/* Takes everything out, in steps of @step bytes. */
static size_t drain(Queue *q, size_t step, uint8_t *ret, size_t n_ret) {
        struct iovec vectors[4];
        size_t n_all = 0, n;

        while ((n = queue_peek(q, vectors, 4, step)) > 0) {
                size_t taken = 0;

                for (size_t i = 0; i < n; i++) {
                        assert_true(n_all + vectors[i].iov_len <= n_ret);
                        memcpy(ret + n_all, vectors[i].iov_base, vectors[i].iov_len);
                        n_all += vectors[i].iov_len;
                        taken += vectors[i].iov_len;
                }
                assert_true(taken <= step);
                queue_pop(q, taken);
        }
        assert_true(queue_empty(q));
        assert_int_equal(q->n_bytes, 0);
        assert_int_equal(q->n_charged, 0);
        assert_int_equal(q->n_charged_copies, 0);
        return n_all;
}

static void text_comes_out_as_it_went_in(void **state) {
        static const size_t steps[] = { 1, 2, 3, 7, 100 };

        for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
                Queue q = {};
                uint8_t out[64];

                assert_int_equal(queue_push(&q, CONSOLE_OUTPUT, 1, "one ", 4), 0);
                assert_int_equal(queue_push(&q, CONSOLE_OUTPUT, 1, "", 0), 0);
                queue_push_copy(&q, CONSOLE_OUTPUT, 1, "two ", 4);
                assert_int_equal(queue_push(&q, CONSOLE_OUTPUT, 1, "three", 5), 0);
                assert_int_equal(drain(&q, steps[i], out, sizeof(out)), 13);
                assert_memory_equal(out, "one two three", 13);
        }
}

static void framed_pieces_are_whole_frames(void **state) {
        Queue q = { .framed = true };
        uint8_t out[64];
        FrameHeader header;

        assert_int_equal(queue_push(&q, CONSOLE_PROMPT, 7, "", 0), 0);
        assert_int_equal(queue_push(&q, CONSOLE_OUTPUT, 8, "abc", 3), 0);
        assert_int_equal(drain(&q, 5, out, sizeof(out)), 2 * FRAME_HEADER_SIZE + 3);
        assert_int_equal(frame_header_decode(out, &header), 0);
        assert_int_equal(header.type, CONSOLE_PROMPT);
        assert_int_equal(header.id, 7);
        assert_int_equal(header.length, 0);
        assert_int_equal(frame_header_decode(out + FRAME_HEADER_SIZE, &header), 0);
        assert_int_equal(header.type, CONSOLE_OUTPUT);
        assert_int_equal(header.length, 3);
}

static void copies_are_dropped_whole_and_counted_once(void **state) {
        static uint8_t piece[1000], out[QUEUE_BYTES_MAX];
        size_t n = 0, n_out;
        Queue q = {};

        while (q.n_dropped == 0) {
                queue_push_copy(&q, CONSOLE_OUTPUT, 1, piece, sizeof(piece));
                n++;
        }
        assert_true(q.n_charged <= QUEUE_COPIES_MAX);
        queue_push_copy(&q, CONSOLE_OUTPUT, 1, piece, sizeof(piece));
        assert_int_equal(q.n_dropped, 2 * sizeof(piece));

        /* The session's own output still fits, behind the mark. */
        assert_true(queue_fits(&q, 16384));
        assert_int_equal(queue_push(&q, CONSOLE_OUTPUT, 1, "own", 3), 0);
        assert_int_equal(q.n_dropped, 0);
        n_out = drain(&q, 65536, out, sizeof(out));
        assert_true(n_out > (n - 1) * sizeof(piece));
        assert_non_null(memmem(out, n_out, "2000 bytes of other threads' output dropped]\nown", 48));
}

static void dropped_copies_are_reported_when_the_queue_has_run_empty(void **state) {
        static uint8_t piece[QUEUE_COPIES_MAX + 1];
        Queue q = { .framed = true };
        uint8_t out[256];
        size_t n;

        queue_push_copy(&q, CONSOLE_OUTPUT, 3, piece, sizeof(piece));
        assert_int_equal(q.n_dropped, sizeof(piece));
        queue_report_dropped(&q, 3);
        n = drain(&q, 64, out, sizeof(out));
        assert_memory_equal(out + FRAME_HEADER_SIZE, "{\"bytes\":524289}", n - FRAME_HEADER_SIZE);
        queue_report_dropped(&q, 3);
        assert_true(queue_empty(&q));
}

static void small_pieces_of_one_kind_share_a_frame(void **state) {
        Queue q = { .framed = true };
        FrameHeader header;
        uint8_t out[256], *p = out;

        assert_int_equal(queue_push(&q, CONSOLE_OUTPUT, 1, "one", 3), 0);
        assert_int_equal(queue_push(&q, CONSOLE_OUTPUT, 1, "\n", 1), 0);
        assert_int_equal(queue_push(&q, CONSOLE_STDERR, 1, "oh", 2), 0);
        queue_push_copy(&q, CONSOLE_OUTPUT, 1, "co", 2);
        queue_push_copy(&q, CONSOLE_OUTPUT, 1, "py", 2);
        assert_int_equal(queue_push(&q, CONSOLE_PROMPT, 1, ">", 1), 0);
        assert_int_equal(queue_push(&q, CONSOLE_PROMPT, 1, ">", 1), 0);
        assert_int_equal(q.n_bytes, 5 * FRAME_HEADER_SIZE + 12);
        assert_int_equal(drain(&q, 1000, out, sizeof(out)), 5 * FRAME_HEADER_SIZE + 12);
        for (size_t i = 0; i < 5; i++) {
                static const size_t lengths[] = { 4, 2, 4, 1, 1 };

                assert_int_equal(frame_header_decode(p, &header), 0);
                assert_int_equal(header.length, lengths[i]);
                p += FRAME_HEADER_SIZE + header.length;
        }
}

static void nothing_joins_what_is_being_sent(void **state) {
        Queue q = { .framed = true };
        struct iovec vectors[2];
        FrameHeader header;

        assert_int_equal(queue_push(&q, CONSOLE_OUTPUT, 1, "one", 3), 0);
        assert_int_equal(queue_peek(&q, vectors, 2, 1000), 1);
        assert_int_equal(queue_push(&q, CONSOLE_OUTPUT, 1, "two", 3), 0);
        assert_int_equal(frame_header_decode(vectors[0].iov_base, &header), 0);
        assert_int_equal(header.length, 3);
        queue_pop(&q, 1);
        assert_int_equal(queue_push(&q, CONSOLE_OUTPUT, 1, "three", 5), 0);
        queue_pop(&q, FRAME_HEADER_SIZE + 2);
        assert_int_equal(queue_peek(&q, vectors, 2, 1000), 1);
        assert_int_equal(frame_header_decode(vectors[0].iov_base, &header), 0);
        assert_int_equal(header.length, 8);
        queue_clear(&q);
}

static void rest_of_a_piece_comes_first(void **state) {
        uint8_t out[64];
        Queue q = {};

        assert_int_equal(queue_put_first(&q, "rest ", 5), 0);
        assert_int_equal(queue_push(&q, CONSOLE_OUTPUT, 1, "later", 5), 0);
        assert_int_equal(queue_put_first(&q, "the ", 4), 0);
        assert_int_equal(drain(&q, 3, out, sizeof(out)), 14);
        assert_memory_equal(out, "the rest later", 14);
}

static void pieces_are_charged_for_the_memory_they_take(void **state) {
        Queue q = { .framed = true };
        size_t n = 0;

        while (queue_fits(&q, 1)) {
                assert_int_equal(queue_push(&q, n % 2 ? CONSOLE_OUTPUT : CONSOLE_STDERR, 1, "x", 1), 0);
                n++;
        }
        assert_true(q.n_charged <= QUEUE_BYTES_MAX);
        assert_true(n < QUEUE_BYTES_MAX / 1024);
        queue_clear(&q);
        assert_true(queue_empty(&q));
        assert_int_equal(q.n_bytes, 0);
        assert_true(queue_fits(&q, FRAME_PAYLOAD_MAX));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(text_comes_out_as_it_went_in),
                cmocka_unit_test(framed_pieces_are_whole_frames),
                cmocka_unit_test(copies_are_dropped_whole_and_counted_once),
                cmocka_unit_test(dropped_copies_are_reported_when_the_queue_has_run_empty),
                cmocka_unit_test(small_pieces_of_one_kind_share_a_frame),
                cmocka_unit_test(nothing_joins_what_is_being_sent),
                cmocka_unit_test(rest_of_a_piece_comes_first),
                cmocka_unit_test(pieces_are_charged_for_the_memory_they_take),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
