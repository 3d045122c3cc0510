/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/execution.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/answer.h"
#include "daemon/client.h"
#include "daemon/errors.h"
#include "daemon/session.h"
#include "lib/cleanup.h"
#include "lib/console.h"
#include "lib/escape.h"

#define REQUEST_ID 1U
#define READ_SIZE 16384U
/* Of answers; each byte of output may take six of JSON. */
#define UNREAD_MAX 65536U
#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

#define NOT_UNDERSTOOD "what came back is not of the console protocol"

void execution_end(Execution *e) {
        if (!e->client)
                return;
        e->client->execution = NULL;
        e->client = NULL;
        if (e->readable)
                (void)event_del(e->readable);
        e->fd = fd_close(e->fd);
        e->ended(e, e->userdata);
}

static void execution_fail(Execution *e, const char *error, const char *reason) {
        Client *c = e->client;

        execution_end(e);
        client_error(c, error, "reason", reason);
}

/* ---------------------------------------------------------------- output */

/* Text of what has come so far, but for a character that is cut short. A new reference. */
static json_t *stream_text(ExecutionStream *s, const uint8_t *data, size_t n) {
        /* Each byte that is none of UTF-8 becomes three. */
        _cleanup_free_ char *bytes = malloc(s->n_cut + n + 1), *text = malloc(3 * (s->n_cut + n) + 1);
        size_t n_text = 0, at = 0;
        bool cut = false;

        if (!bytes || !text)
                return NULL;
        memcpy(bytes, s->cut, s->n_cut);
        if (n > 0)
                memcpy(bytes + s->n_cut, data, n);
        n += s->n_cut;
        s->n_cut = 0;
        while (at < n) {
                size_t k = utf8_length(bytes + at, n - at, &cut);

                if (cut) {
                        s->n_cut = n - at;
                        memcpy(s->cut, bytes + at, s->n_cut);
                        break;
                }
                memcpy(text + n_text, k > 0 ? bytes + at : REPLACEMENT, k > 0 ? k : strlen(REPLACEMENT));
                n_text += k > 0 ? k : strlen(REPLACEMENT);
                at += k > 0 ? k : 1;
        }
        return json_stringn(text, n_text);
}

static void execution_show(Execution *e, bool err, const uint8_t *data, size_t n) {
        json_t *text = stream_text(err ? &e->err : &e->out, data, n);

        if (text && json_string_length(text) == 0) {
                json_decref(text);
                return;
        }
        client_continue(e->client, json_pack("{s:s, s:o}", "stream", err ? "stderr" : "stdout", "text", text));
}

/* A stream that ends within a character. */
static void execution_show_rest(Execution *e, bool err) {
        ExecutionStream *s = err ? &e->err : &e->out;

        if (s->n_cut == 0 || !e->client)
                return;
        s->n_cut = 0;
        client_continue(e->client, json_pack("{s:s, s:s}", "stream", err ? "stderr" : "stdout", "text", REPLACEMENT));
}

/* ---------------------------------------------------------------- frames */

static void execution_conclude(Execution *e) {
        Client *c = e->client;
        json_t *end;
        int r = answer_parse(answer_end, e->payload, e->n_payload, &end);

        if (r != 0) {
                if (r == ANSWER_E_ERROR)
                        json_decref(end);
                execution_fail(e, ERROR_TARGET_GONE, NOT_UNDERSTOOD);
                return;
        }
        execution_show_rest(e, false);
        execution_show_rest(e, true);
        if (!e->client) { /* ended by that */
                json_decref(end);
                return;
        }
        execution_end(e);
        client_reply(c, json_pack("{s:o}", "end", end));
}

/* The payload; NULL if it is no JSON. A new reference. */
static json_t *execution_read(const Execution *e) {
        return json_loadb(e->payload, e->n_payload, JSON_REJECT_DUPLICATES, NULL);
}

static void execution_take_notice(Execution *e) {
        json_t *notice = execution_read(e);
        const char *kind = json_string_value(json_object_get(notice, "kind")),
                   *text = json_string_value(json_object_get(notice, "text"));

        if (kind && strcmp(kind, "end") == 0)
                execution_fail(e, ERROR_SESSION_ENDED, text ?: "the session has ended");
        json_decref(notice);
}

static void execution_take_answer(Execution *e, uint32_t id) {
        json_t *answer = execution_read(e);
        const char *error = json_string_value(json_object_get(answer, "error"));

        if (id == REQUEST_ID)
                execution_fail(e, ERROR_TARGET_GONE, error && strcmp(error, "busy") == 0 ?
                               "the target is busy with other code" : "the target does not run the code");
        json_decref(answer);
}

static void execution_take_dropped(Execution *e) {
        json_t *dropped = execution_read(e), *bytes = json_object_get(dropped, "bytes");

        if (json_is_integer(bytes))
                client_continue(e->client, json_pack("{s:O}", "dropped", bytes));
        json_decref(dropped);
}

/* The code reads its standard input, which is empty. */
static void execution_end_input(Execution *e) {
        uint8_t bytes[FRAME_HEADER_SIZE];

        frame_header_encode(&(FrameHeader){ .type = CONSOLE_INPUT, .id = REQUEST_ID }, bytes);
        if (send(e->fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(bytes))
                execution_fail(e, ERROR_SESSION_ENDED, "the session has no room for more input");
}

static void execution_take_frame(Execution *e, const FrameHeader *header) {
        switch (header->type) {
        case CONSOLE_ANSWER:
                execution_take_answer(e, header->id);
                break;
        case CONSOLE_PROMPT:
                execution_end_input(e);
                break;
        case CONSOLE_DROPPED:
                execution_take_dropped(e);
                break;
        case CONSOLE_END:
                execution_conclude(e);
                break;
        case CONSOLE_NOTICE:
                execution_take_notice(e);
                break;
        default:
                break;
        }
}

/* Output goes on as it comes; the rest is taken when it is whole. */
static void execution_take(Execution *e, const FramePiece *piece) {
        bool err = piece->header.type == CONSOLE_STDERR;

        if (err || piece->header.type == CONSOLE_OUTPUT) {
                if (piece->n_data > 0)
                        execution_show(e, err, piece->data, piece->n_data);
                return;
        }
        if (piece->begins) {
                free(e->payload);
                e->n_payload = 0;
                e->payload = malloc(piece->header.length + 1);
                if (!e->payload) {
                        execution_fail(e, ERROR_SESSION_ENDED, "the daemon is out of memory");
                        return;
                }
        }
        if (piece->n_data > 0) {
                memcpy(e->payload + e->n_payload, piece->data, piece->n_data);
                e->n_payload += piece->n_data;
        }
        if (piece->ends)
                execution_take_frame(e, &piece->header);
}

static void execution_watch(Execution *e) {
        if (client_unread(e->client) < UNREAD_MAX)
                (void)event_add(e->readable, NULL);
        else
                (void)event_del(e->readable);
}

static void execution_on_readable(evutil_socket_t fd, short what, void *userdata) {
        uint8_t bytes[READ_SIZE], *at = bytes;
        Execution *e = userdata;
        ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                execution_fail(e, ERROR_SESSION_ENDED, "the target, or the session, has ended");
                return;
        }
        while (n > 0 && e->client) {
                FramePiece piece;
                size_t used;

                if (frame_scan(&e->scanner, at, (size_t)n, &used, &piece) != 0) {
                        execution_fail(e, ERROR_TARGET_GONE, NOT_UNDERSTOOD);
                        return;
                }
                /* An incomplete header says nothing yet. */
                if (piece.begins || piece.n_data > 0)
                        execution_take(e, &piece);
                at += used;
                n -= (ssize_t)used;
        }
        if (e->client)
                execution_watch(e);
}

/* ------------------------------------------------------------------ life */

void execution_resume(Execution *e) {
        if (e->client)
                execution_watch(e);
}

int execution_new(Client *client, Session *session, const char *code,
                  void (*ended)(Execution *e, void *userdata), void *userdata, Execution **ret) {
        _cleanup_free_ uint8_t *request = NULL;
        size_t n = strlen(code);
        Execution *e;
        int fds[2];

        assert(session->facts.framed && n <= FRAME_PAYLOAD_MAX);

        e = calloc(1, sizeof(*e));
        request = malloc(FRAME_HEADER_SIZE + n);
        if (!e || !request || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
                free(e);
                return -ENOMEM;
        }
        *e = (Execution){ .client = client, .fd = fds[0], .scanner = FRAME_SCANNER_INIT, .ended = ended,
                          .userdata = userdata };
        e->readable = event_new(client->host->loop, e->fd, EV_READ | EV_PERSIST, execution_on_readable, e);
        if (!e->readable || event_add(e->readable, NULL) < 0) {
                (void)fd_close(fds[1]);
                execution_free(e);
                return -ENOMEM;
        }
        frame_header_encode(&(FrameHeader){ .length = (uint32_t)n, .type = CONSOLE_EXEC, .id = REQUEST_ID }, request);
        memcpy(request + FRAME_HEADER_SIZE, code, n);
        *ret = e;
        session_relay_consume(session, fds[1], NULL, request, FRAME_HEADER_SIZE + n);
        return 0;
}

void execution_free(Execution *e) {
        if (!e)
                return;
        if (e->readable)
                event_free(e->readable);
        (void)fd_close(e->fd);
        free(e->payload);
        free(e);
}
