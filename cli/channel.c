/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/channel.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/cleanup.h"

#define READ_SIZE 65536

void channel_init_consume(Channel *c, int fd, bool framed, const void *rest, size_t n_rest) {
        *c = CHANNEL_INIT;
        c->fd = fd;
        c->framed = framed;
        buffer_append(&c->rest, rest, n_rest);
}

void channel_done(Channel *c) {
        c->fd = fd_close(c->fd);
        buffer_done(&c->payload);
        buffer_done(&c->rest);
        buffer_done(&c->waiting);
}

void channel_send(Channel *c, ConsoleRequest type, uint32_t id, const void *payload, size_t n) {
        FrameHeader header = { .length = (uint32_t)n, .type = type, .id = id };
        uint8_t bytes[FRAME_HEADER_SIZE];

        assert(c->framed && n <= FRAME_PAYLOAD_MAX);

        frame_header_encode(&header, bytes);
        buffer_append(&c->waiting, bytes, sizeof(bytes));
        buffer_append(&c->waiting, payload, n);
}

void channel_send_plain(Channel *c, const void *data, size_t n) {
        assert(!c->framed);
        buffer_append(&c->waiting, data, n);
}

void channel_end_plain(Channel *c) {
        assert(!c->framed);
        c->ending = true;
}

int channel_flush(Channel *c) {
        size_t sent = 0;
        int r = 0;

        while (sent < c->waiting.n) {
                ssize_t k = send(c->fd, c->waiting.data + sent, c->waiting.n - sent, MSG_NOSIGNAL);

                if (k >= 0) {
                        sent += (size_t)k;
                } else if (errno == EAGAIN) {
                        break;
                } else if (errno == EPIPE || errno == ECONNRESET) {
                        sent = c->waiting.n;
                } else if (errno != EINTR) {
                        r = -errno;
                        break;
                }
        }
        buffer_drop(&c->waiting, sent);
        if (c->ending && c->waiting.n == 0) {
                (void)shutdown(c->fd, SHUT_WR);
                c->ending = false;
        }
        return r;
}

static bool is_known(uint32_t type) {
        return (type >= CONSOLE_ANSWER && type < _CONSOLE_REPLY_MAX) ||
               (type >= CONSOLE_NOTICE && type < _CONSOLE_BROKER_MAX);
}

static int dispatch(Channel *c, const char *data, size_t n, ChannelHandler handler, void *userdata) {
        if (!c->framed) {
                handler(userdata, CONSOLE_OUTPUT, 0, data, n);
                return 0;
        }

        while (n > 0) {
                FramePiece piece;
                size_t used;

                if (frame_scan(&c->scanner, (const uint8_t *)data, n, &used, &piece) != 0)
                        return CHANNEL_E_PROTOCOL;
                buffer_append(&c->payload, piece.data, piece.n_data);
                if (piece.ends) {
                        if (!is_known(piece.header.type))
                                return CHANNEL_E_PROTOCOL;
                        (void)buffer_string(&c->payload);
                        handler(userdata, piece.header.type, piece.header.id, c->payload.data, c->payload.n);
                        c->payload.n = 0;
                }
                data += used;
                n -= used;
        }
        return 0;
}

int channel_read(Channel *c, ChannelHandler handler, void *userdata) {
        char bytes[READ_SIZE];
        ssize_t k;

        if (c->rest.n > 0) {
                _cleanup_(buffer_done) Buffer rest = c->rest;

                c->rest = (Buffer){};
                return dispatch(c, rest.data, rest.n, handler, userdata);
        }

        k = recv(c->fd, bytes, sizeof(bytes), 0);
        if (k > 0)
                return dispatch(c, bytes, (size_t)k, handler, userdata);
        if (k == 0 || errno == ECONNRESET)
                return CHANNEL_E_EOF;
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

short channel_events(const Channel *c) {
        return (short)(POLLIN | (c->waiting.n > 0 ? POLLOUT : 0));
}

bool channel_ready(const Channel *c) {
        return c->rest.n > 0;
}

const char *channel_error_text(int error) {
        if (error < 0)
                return strerror(-error);
        return error == CHANNEL_E_EOF ? "the connection is gone" : "it does not speak the console protocol";
}
