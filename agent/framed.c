/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/ask.h"
#include "agent/framed.h"
#include "agent/history.h"
#include "agent/jsonbuf.h"
#include "agent/overdue.h"
#include "agent/question.h"
#include "agent/runner.h"
#include "agent/session.h"
#include "agent/turn.h"
#include "lib/console.h"

/* Asks for Python stacks without the GIL, however large the process is. */
#define ALWAYS "dump=always"

#define BUSY "{\"error\":\"busy\"}"
#define NO_THREAD "{\"error\":\"resources\",\"message\":\"no thread could be started\"}"

static char *interpreter; /* owned; set before the first client comes, then only read */

int framed_set_interpreter(const char *json) {
        if (interpreter == NULL)
                interpreter = strdup(json);
        return interpreter == NULL ? -ENOMEM : 0;
}

int framed_hello(Session *s, uint32_t id) {
        JsonBuffer b = JSON_BUFFER_INIT;
        int r;

        jsonbuf_raw(&b, "{\"agent\":\"manholed-agent\",\"version\":\"" PACKAGE_VERSION "\",\"versions\":[");
        jsonbuf_integer(&b, CONSOLE_VERSION);
        jsonbuf_raw(&b, "],\"pid\":");
        jsonbuf_integer(&b, getpid());
        jsonbuf_raw(&b, ",");
        jsonbuf_raw(&b, interpreter);
        jsonbuf_raw(&b, "}");
        jsonbuf_pad(&b, CONSOLE_HELLO_ALIGN);
        r = b.failed ? SESSION_E_LOST : session_answer(s, id, b.data, b.n_data);
        jsonbuf_done(&b);
        return r;
}

/* A client that does not read its answers loses its connection: the I/O thread cannot wait. */
static int answer(Session *s, uint32_t id, const char *json) {
        return session_answer(s, id, json, strlen(json)) == 0 ? 0 : -ENOBUFS;
}

/* Takes the first of the `name=value` lines of a payload away. */
static bool take_line(const uint8_t **p, size_t *n, const uint8_t **ret, size_t *ret_length) {
        const uint8_t *newline;
        size_t length;

        if (*n == 0)
                return false;
        newline = memchr(*p, '\n', *n);
        length = newline != NULL ? (size_t)(newline - *p) : *n;
        *ret = *p;
        *ret_length = length;
        length += newline != NULL;
        *p += length;
        *n -= length;
        return true;
}

/* Whether the request that has been read has this line. */
static bool has_line(const Session *s, const char *line) {
        const uint8_t *p = s->payload, *l;
        size_t n = s->n_payload, length;

        while (take_line(&p, &n, &l, &length))
                if (length == strlen(line) && memcmp(l, line, length) == 0)
                        return true;
        return false;
}

static int start(Session *s, SessionRun run, uint32_t id) {
        bool busy;

        pthread_mutex_lock(&s->lock);
        busy = s->run != SESSION_RUNS_NOTHING;
        if (!busy) {
                s->run = run;
                s->run_id = id;
                s->interrupted = false;
                inbox_clear(&s->inbox);
                if (run == SESSION_RUNS_EXEC) {
                        free(s->source);
                        s->source = (char *)s->payload;
                        s->n_source = s->n_payload;
                        s->payload = NULL;
                } else {
                        if (!has_line(s, "stacks=no"))
                                overdue_begin(&s->opened, has_line(s, ALWAYS), false);
                        s->open_banner = !has_line(s, "banner=no");
                }
        }
        pthread_mutex_unlock(&s->lock);

        if (busy)
                return answer(s, id, BUSY);
        if (runner_start(s) < 0) {
                pthread_mutex_lock(&s->lock);
                s->run = SESSION_RUNS_NOTHING;
                s->opened.state = WISH_NONE;
                pthread_mutex_unlock(&s->lock);
                return answer(s, id, NO_THREAD);
        }
        return 0;
}

/* Bytes typed are not kept until their frame is complete: they are worth what has arrived. */
static int receive_input(Session *s, const FramePiece *piece) {
        int r = 0;

        pthread_mutex_lock(&s->lock);
        if (s->run != SESSION_RUNS_NOTHING && s->run_id == piece->header.id) {
                if (piece->header.length == 0)
                        inbox_put_end(&s->inbox);
                else if (piece->n_data > 0)
                        r = inbox_put(&s->inbox, piece->data, piece->n_data);
                pthread_cond_broadcast(&s->changed);
        }
        pthread_mutex_unlock(&s->lock);
        return r;
}

static int receive_interrupt(Session *s, uint32_t id) {
        bool ours;

        pthread_mutex_lock(&s->lock);
        ours = s->run != SESSION_RUNS_NOTHING && s->run_id == id;
        pthread_mutex_unlock(&s->lock);
        if (ours && turn_interrupt(s))
                runner_interrupt(s);
        return 0;
}

static int receive_stacks(Session *s, uint32_t id) {
        int r = ask_stacks(s, id, has_line(s, ALWAYS), has_line(s, "gil=no"), has_line(s, "locals=yes"));

        if (r == ASK_E_BUSY)
                return answer(s, id, BUSY);
        if (r < 0)
                return answer(s, id, NO_THREAD);
        return 0;
}

static int receive_question(Session *s, const FrameHeader *header) {
        int r = question_begin(s, header->type, header->id);

        if (r == QUESTION_E_BUSY)
                return answer(s, header->id, BUSY);
        if (r == QUESTION_E_UNKNOWN)
                return answer(s, header->id, "{\"error\":\"unsupported\"}");
        if (r < 0)
                return answer(s, header->id, NO_THREAD);
        return 0;
}

/* The number that a line of it gives to @name (with its `=`); without one @otherwise. */
static size_t number_of(const Session *s, const char *name, size_t otherwise) {
        size_t n = s->n_payload, n_name = strlen(name), length;
        const uint8_t *p = s->payload, *l;

        while (take_line(&p, &n, &l, &length)) {
                char text[32] = {}, *end;
                unsigned long value;

                if (length <= n_name || length >= sizeof(text) || memcmp(l, name, n_name) != 0)
                        continue;
                memcpy(text, l + n_name, length - n_name);
                value = strtoul(text, &end, 10);
                return text[0] >= '0' && text[0] <= '9' && *end == '\0' ? value : otherwise;
        }
        return otherwise;
}

/* While much waits to be read, the client asks again: it does not lose its console for it. */
static int receive_history(Session *s, uint32_t id) {
        JsonBuffer b = JSON_BUFFER_INIT;
        int r;

        jsonbuf_raw(&b, "{\"entries\":");
        history_write(&b, number_of(s, "max=", HISTORY_ENTRIES_MAX));
        jsonbuf_raw(&b, "}");
        r = b.failed ? -ENOMEM : session_answer(s, id, b.data, b.n_data);
        jsonbuf_done(&b);
        return r == SESSION_E_FULL ? answer(s, id, BUSY) : r < 0 ? r : 0;
}

static int receive_request(Session *s, const FrameHeader *header) {
        switch (header->type) {
        case CONSOLE_HELLO:
                return framed_hello(s, header->id) == 0 ? 0 : -ENOBUFS;
        case CONSOLE_OPEN:
                return start(s, SESSION_RUNS_CONSOLE, header->id);
        case CONSOLE_EXEC:
                return start(s, SESSION_RUNS_EXEC, header->id);
        case CONSOLE_HISTORY:
                return receive_history(s, header->id);
        case CONSOLE_STACKS:
                return receive_stacks(s, header->id);
        case CONSOLE_INTERRUPT:
                return receive_interrupt(s, header->id);
        default:
                return receive_question(s, header);
        }
}

static int receive_piece(Session *s, const FramePiece *piece) {
        if (piece->begins) {
                if (piece->header.type < CONSOLE_HELLO || piece->header.type >= _CONSOLE_REQUEST_MAX ||
                    piece->header.id == 0)
                        return -EPROTO;
                free(s->payload);
                s->payload = NULL;
                s->n_payload = 0;
        }
        if (piece->header.type == CONSOLE_INPUT)
                return receive_input(s, piece);

        if (piece->n_data > 0) {
                if (s->payload == NULL)
                        s->payload = malloc(piece->header.length);
                if (s->payload == NULL)
                        return -ENOMEM;
                memcpy(s->payload + s->n_payload, piece->data, piece->n_data);
                s->n_payload += piece->n_data;
        }
        return piece->ends ? receive_request(s, &piece->header) : 0;
}

int framed_receive(Session *s, const uint8_t *bytes, size_t n) {
        while (n > 0) {
                FramePiece piece;
                size_t used;
                int r;

                if (frame_scan(&s->scanner, bytes, n, &used, &piece) != 0)
                        return -EPROTO;
                if (piece.begins || piece.n_data > 0) {
                        r = receive_piece(s, &piece);
                        if (r < 0)
                                return r;
                }
                bytes += used;
                n -= used;
        }
        return 0;
}
