/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/question.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/errors.h"
#include "lib/cleanup.h"
#include "lib/container.h"

#define REQUEST_ID 1U
#define READ_SIZE 65536U

#define SILENT "the target does not answer"
#define NOT_UNDERSTOOD "the target's answer is not one of the console protocol"

void question_end(Question *q) {
        if (q->state == QUESTION_ENDED)
                return;
        q->state = QUESTION_ENDED;
        dial_cancel(&q->dial);
        (void)event_del(q->deadline);
        if (q->readable)
                (void)event_del(q->readable);
        q->fd = fd_close(q->fd);
        if (q->n_charged > 0)
                quota_release_many(q->host->unread, q->uid, q->n_charged);
        q->n_charged = 0;
        q->target->n_questions--;
        q->target = NULL;
        q->host->ended(q, q->host->userdata);
}

static void question_fail(Question *q, const char *error, const char *reason) {
        q->host->failed(q, error, reason, q->host->userdata);
        question_end(q);
}

void question_target_gone(Question *q) {
        if (q->state != QUESTION_ENDED)
                question_fail(q, ERROR_TARGET_GONE, "the process or its manhole has ended");
}

/* --------------------------------------------------------------- answer */

static void question_answered(Question *q) {
        (void)event_del(q->deadline);
        (void)event_del(q->readable);
        q->fd = fd_close(q->fd);
        q->state = QUESTION_ANSWERED;
        q->host->answered(q, q->host->userdata);
}

/* Room for the answer that begins. NULL, or why there is none. */
static const char *question_make_room(Question *q, const FrameHeader *header) {
        if (header->type != CONSOLE_ANSWER || header->id != REQUEST_ID || header->length == 0)
                return NOT_UNDERSTOOD;
        if (quota_charge_many(q->host->unread, q->uid, header->length) != 0)
                return "this user has too many answers that are not read yet";
        q->n_charged = header->length;
        q->answer = malloc(header->length);
        return q->answer ? NULL : "the daemon is out of memory";
}

/* The agent greets with a frame of its own and then answers; nothing else is allowed. */
static void question_take(Question *q, const FramePiece *piece) {
        const char *wrong = NULL;

        if (q->greeted && piece->begins)
                wrong = question_make_room(q, &piece->header);
        else if (piece->begins && (piece->header.type != CONSOLE_ANSWER || piece->header.id != 0))
                wrong = NOT_UNDERSTOOD;
        if (wrong) {
                question_fail(q, ERROR_TARGET_GONE, wrong);
                return;
        }
        if (q->greeted && piece->n_data > 0) {
                memcpy(q->answer + q->n_answer, piece->data, piece->n_data);
                q->n_answer += (uint32_t)piece->n_data;
        }
        if (piece->ends && q->greeted)
                question_answered(q);
        else if (piece->ends)
                q->greeted = true;
}

static void question_on_readable(evutil_socket_t fd, short what, void *userdata) {
        uint8_t bytes[READ_SIZE], *at = bytes;
        Question *q = userdata;
        ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                question_fail(q, ERROR_TARGET_GONE, "the target closed the connection without an answer");
                return;
        }
        while (n > 0 && q->state == QUESTION_ASKING) {
                FramePiece piece;
                size_t used;

                if (frame_scan(&q->scanner, at, (size_t)n, &used, &piece) != 0) {
                        question_fail(q, ERROR_TARGET_GONE, NOT_UNDERSTOOD);
                        return;
                }
                question_take(q, &piece);
                at += used;
                n -= (ssize_t)used;
        }
}

/* -------------------------------------------------------------- request */

/* A new connection has room for it. */
static bool question_send(const Question *q) {
        uint8_t bytes[FRAME_HEADER_SIZE + 64];
        size_t n = strlen(q->asks.payload);

        if (n > sizeof(bytes) - FRAME_HEADER_SIZE)
                return false;
        frame_header_encode(&(FrameHeader){ .length = (uint32_t)n, .type = q->asks.request, .id = REQUEST_ID },
                            bytes);
        memcpy(bytes + FRAME_HEADER_SIZE, q->asks.payload, n);
        n += FRAME_HEADER_SIZE;
        return send(q->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n;
}

static void question_on_connected(Dial *d, int fd, DialFace face) {
        Question *q = container_of(d, Question, dial);

        q->fd = fd;
        if (face == DIAL_SILENT) {
                question_fail(q, ERROR_TIMED_OUT, SILENT);
                return;
        }
        if (face == DIAL_PLAIN) {
                question_fail(q, ERROR_UNSUPPORTED, "the process has the pure-Python manhole, which answers no "
                                                    "questions: a console can be opened in it");
                return;
        }
        q->state = QUESTION_ASKING;
        q->readable = event_new(q->host->loop, fd, EV_READ | EV_PERSIST, question_on_readable, q);
        if (!q->readable || event_add(q->readable, NULL) < 0)
                question_fail(q, ERROR_TARGET_GONE, "the daemon is out of memory");
        else if (!question_send(q))
                question_fail(q, ERROR_TARGET_GONE, "the target closed the connection without an answer");
}

static void question_on_failed(Dial *d, const char *error, const char *reason) {
        question_fail(container_of(d, Question, dial), error, reason);
}

static void question_on_deadline(evutil_socket_t fd, short what, void *userdata) {
        question_fail(userdata, ERROR_TIMED_OUT, SILENT);
}

/* ----------------------------------------------------------------- life */

int question_new(const QuestionHost *host, Target *target, const Peer *peer, QuestionAsks asks, void *caller,
                 Question **ret) {
        static const DialHandler handler = { question_on_connected, question_on_failed };
        Question *q = calloc(1, sizeof(*q));

        if (!q)
                return -ENOMEM;
        *q = (Question){ .host = host, .asks = asks, .uid = peer->uid, .caller = caller, .fd = -1,
                         .scanner = FRAME_SCANNER_INIT };
        q->deadline = event_new(host->loop, -1, 0, question_on_deadline, q);
        if (!q->deadline || dial_init(&q->dial, host->loop, host->priv, &handler) < 0 ||
            event_add(q->deadline, &(struct timeval){ .tv_sec = asks.within_sec }) < 0) {
                question_free(q);
                return -ENOMEM;
        }
        q->target = target;
        target->n_questions++;
        dial_begin(&q->dial, target, &target->ids, peer->uid, true);
        *ret = q;
        return 0;
}

void question_free(Question *q) {
        if (!q)
                return;
        dial_done(&q->dial);
        if (q->deadline)
                event_free(q->deadline);
        if (q->readable)
                event_free(q->readable);
        (void)fd_close(q->fd);
        free(q->answer);
        free(q);
}
