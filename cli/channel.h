/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A connection that carries a console: frames, or plain bytes where the other side is the
 * pure-Python package. Never blocks; whoever polls sends what waits and reads what comes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/buffer.h"
#include "lib/console.h"
#include "lib/frame.h"

/* While more than this waits to be sent, no more is read from standard input. */
#define CHANNEL_WAITING_MAX (256U * 1024U)

enum {
        _CHANNEL_E_SUCCESS,
        CHANNEL_E_EOF,      /* the other side is gone */
        CHANNEL_E_PROTOCOL, /* it does not speak the protocol */
};

typedef struct Channel {
        int fd; /* owned, non-blocking */
        bool framed;
        FrameScanner scanner;
        Buffer payload; /* of the frame that is arriving */
        Buffer rest;    /* came before the channel began */
        Buffer waiting; /* to be sent */
        bool ending;    /* and then no more */
} Channel;

#define CHANNEL_INIT ((Channel){ .fd = -1, .scanner = FRAME_SCANNER_INIT })

/* @rest: bytes that were read already. Takes over @fd. */
void channel_init_consume(Channel *c, int fd, bool framed, const void *rest, size_t n_rest);
void channel_done(Channel *c);

/* Queues a frame of at most FRAME_PAYLOAD_MAX bytes. */
void channel_send(Channel *c, ConsoleRequest type, uint32_t id, const void *payload, size_t n);

/* Queues bytes as they are; queues the end of input. */
void channel_send_plain(Channel *c, const void *data, size_t n);
void channel_end_plain(Channel *c);

/* Sends what can be sent now: 0, or negative errno. When the other side is gone there is nothing to
 * send, which is no error here: what it said before is still to be read. */
int channel_flush(Channel *c);

/* What arrived: a whole frame, or plain bytes as CONSOLE_OUTPUT with the id 0. */
typedef void (*ChannelHandler)(void *userdata, uint32_t type, uint32_t id, const char *payload, size_t n);

/* Reads once and hands over all that is complete. 0, CHANNEL_E_*, or negative errno. */
int channel_read(Channel *c, ChannelHandler handler, void *userdata);

/* The poll events it waits for. */
short channel_events(const Channel *c);

/* True when channel_read() has work without waiting. */
bool channel_ready(const Channel *c);

/* Why reading or sending ended, in words. */
const char *channel_error_text(int error);
