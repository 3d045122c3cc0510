/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What a client may send to an agent, framed or plain, and what the console's thread and the socket do
 * in between. The first byte of an input says which face; then follow steps of one byte each, whose
 * lowest bits say what happens: bytes arrive (how many, and the bytes follow), a line is read, output is
 * written, the run ends, the socket takes what is queued. What is queued must be whole frames throughout.
 *
 * The stubs stand for those who need Python.
 */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ask.h"
#include "agent/framed.h"
#include "agent/history.h"
#include "agent/input.h"
#include "agent/overdue.h"
#include "agent/question.h"
#include "agent/runner.h"
#include "agent/turn.h"
#include "lib/console.h"
#include "lib/frame.h"

enum {
        STEP_RECEIVE,
        STEP_READ_LINE,
        STEP_WRITE,
        STEP_COPY,
        STEP_END,
        STEP_SEND,
        STEP_CODE, /* begins, or ends */
        STEP_REFUSE,
        _STEP_MAX,
};

static bool refuses; /* the stubs have no thread */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int start(Session *s) {
        assert(s->run != SESSION_RUNS_NOTHING);
        assert(s->run != SESSION_RUNS_EXEC || s->source != NULL || s->n_source == 0);
        return refuses ? -EAGAIN : 0;
}

static void interrupt(Session *s) {
        turn_errand_failed(s);
}

int ask_stacks(Session *s, uint32_t id, bool always, bool at_once, bool locals) {
        return refuses ? -EAGAIN : ASK_E_BUSY;
}

/* Takes the payload and answers at once. */
int question_begin(Session *s, uint32_t type, uint32_t id) {
        assert(type > 0 && type < _CONSOLE_REQUEST_MAX && id != 0);
        if (refuses)
                return QUESTION_E_BUSY;
        free(s->payload);
        s->payload = NULL;
        return session_answer(s, id, "{}", 2) < 0 ? -ENOMEM : 0;
}

void overdue_begin(Wish *w, bool always, bool at_once) {
        w->state = WISH_WAITS;
}

static void check_frames(FrameScanner *scanner, const uint8_t *bytes, size_t n) {
        while (n > 0) {
                FramePiece piece;
                size_t used;

                assert(frame_scan(scanner, bytes, n, &used, &piece) == 0);
                if (piece.begins)
                        assert(piece.header.type >= CONSOLE_ANSWER && piece.header.type < _CONSOLE_REPLY_MAX);
                bytes += used;
                n -= used;
        }
}

/* The socket takes some of it, or all. */
static void send_queued(Session *s, FrameScanner *scanner, size_t n_max) {
        struct iovec vectors[4];
        size_t n, total = 0;

        n = queue_peek(&s->queue, vectors, 4, n_max);
        for (size_t i = 0; i < n; i++) {
                if (s->framed)
                        check_frames(scanner, vectors[i].iov_base, vectors[i].iov_len);
                total += vectors[i].iov_len;
        }
        assert(total <= n_max);
        queue_pop(&s->queue, total);
        if (queue_empty(&s->queue) && s->framed)
                assert(frame_scanner_idle(scanner));
}

static void read_line(Session *s) {
        char *line;
        size_t n;
        int r = inbox_take_line(&s->inbox, &line, &n);

        assert(r == 0 || r == INBOX_E_EMPTY || r == INBOX_E_END);
        if (r != 0)
                return;
        assert(n > 0);
        history_add(line, line[n - 1] == '\n' ? n - 1 : n);
        free(line);
}

static int receive(Session *s, const uint8_t *bytes, size_t n) {
        bool errand = false;
        int r;

        if (s->framed)
                return framed_receive(s, bytes, n);
        r = input_receive(s, bytes, n, &errand);
        if (errand)
                interrupt(s);
        return r;
}

/* Returns how many bytes it took, or a negative errno: the client must go. */
static long take_step(Session *s, FrameScanner *scanner, const uint8_t *data, size_t size) {
        static const char text[256];
        uint8_t what = data[0] % _STEP_MAX, amount = data[0] / _STEP_MAX;
        size_t n, n_queued;
        int status;

        switch (what) {
        case STEP_RECEIVE:
                if (size < 2)
                        return 1;
                n = data[1] < size - 2 ? data[1] : size - 2;
                status = receive(s, data + 2, n);
                return status < 0 ? status : (long)(2 + n);
        case STEP_READ_LINE:
                read_line(s);
                return 1;
        case STEP_WRITE:
                (void)session_offer(s, CONSOLE_OUTPUT, text, amount, &n_queued);
                return 1;
        case STEP_COPY:
                session_receive_copies(s, amount & 1, amount & 2);
                (void)session_copy(s, text, amount, amount & 4);
                return 1;
        case STEP_END:
                if (s->run != SESSION_RUNS_NOTHING && !s->running)
                        (void)session_offer_end(s, "{}", 2);
                return 1;
        case STEP_SEND:
                send_queued(s, scanner, amount == 0 ? SIZE_MAX : amount);
                return 1;
        case STEP_CODE:
                if (s->running)
                        turn_end_code(s);
                else if (s->run != SESSION_RUNS_NOTHING)
                        (void)turn_begin_code(s);
                return 1;
        default:
                refuses = amount & 1;
                return 1;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const Runner runner = { .start = start, .interrupt = interrupt };
        FrameScanner scanner = FRAME_SCANNER_INIT;
        Session *s;
        long used;

        if (size < 1)
                return 0;
        runner_set(&runner);
        assert(framed_set_interpreter("\"python\":\"3\"") == 0);
        refuses = false;
        s = session_new_consume(-1, &(Peer){}, data[0] & 1);
        assert(s != NULL);
        s->verdict = SESSION_ADMITTED;
        if (s->framed)
                assert(framed_hello(s, 0) == 0);
        else
                s->run = SESSION_RUNS_CONSOLE;

        for (data++, size--; size > 0; data += used, size -= (size_t)used) {
                used = take_step(s, &scanner, data, size);
                if (used < 0)
                        break;
        }
        while (!queue_empty(&s->queue))
                send_queued(s, &scanner, SIZE_MAX);
        (void)turn_lose(s);
        (void)session_unref(s);
        return 0;
}
