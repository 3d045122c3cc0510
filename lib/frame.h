/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Frames of the console protocol: pure codec, no descriptor, no allocation.
 *
 * A frame is a header of three 32-bit little-endian integers (payload length in bytes, type, id)
 * and the payload. A FrameScanner walks a byte stream in whatever pieces it arrives and says what
 * each byte belongs to; it never needs a whole frame in memory, so the relay can record a payload
 * while it passes.
 *
 * Any thread; GIL not needed (agent).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_SIZE 12U
/* Larger frames are a peer's error: nothing waits for a frame that never ends. */
#define FRAME_PAYLOAD_MAX (1024U * 1024U)

enum {
        _FRAME_E_SUCCESS,
        FRAME_E_TOO_LARGE, /* the announced length exceeds FRAME_PAYLOAD_MAX */
};

typedef struct FrameHeader {
        uint32_t length; /* of the payload, in bytes */
        uint32_t type;   /* ConsoleRequest or ConsoleReply (console.h) */
        uint32_t id;     /* of the request */
} FrameHeader;

/* Writes FRAME_HEADER_SIZE bytes. */
void frame_header_encode(const FrameHeader *header, uint8_t ret_bytes[FRAME_HEADER_SIZE]);

/* Reads FRAME_HEADER_SIZE bytes. Returns 0 or FRAME_E_TOO_LARGE. */
int frame_header_decode(const uint8_t bytes[FRAME_HEADER_SIZE], FrameHeader *ret);

typedef struct FrameScanner {
        uint8_t bytes[FRAME_HEADER_SIZE]; /* of the header being read */
        size_t n_bytes;
        FrameHeader header; /* of the frame whose payload is being read */
        uint32_t remaining; /* payload bytes not yet seen */
} FrameScanner;

#define FRAME_SCANNER_INIT ((FrameScanner){})

typedef struct FramePiece {
        const uint8_t *data; /* payload in the caller's buffer; NULL while the header is incomplete */
        size_t n_data;
        FrameHeader header;
        bool begins; /* the header has just been completed */
        bool ends;   /* the last byte of this frame */
} FramePiece;

/*
 * Looks at the @n bytes at @bytes (n > 0) and describes the next piece. Returns how many bytes the
 * piece used up (1..n) in @ret_used. A header that is still incomplete yields a piece with neither
 * `begins` nor data. Returns 0 or FRAME_E_TOO_LARGE; after an error the scanner is of no more use.
 */
int frame_scan(FrameScanner *s, const uint8_t *bytes, size_t n, size_t *ret_used, FramePiece *ret);

/* True between two frames. */
bool frame_scanner_idle(const FrameScanner *s);
