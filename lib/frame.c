/* SPDX-License-Identifier: BSD-2-Clause */
#include "frame.h"

#include <assert.h>
#include <string.h>

static void put32(uint8_t *p, uint32_t v) {
        p[0] = (uint8_t)v;
        p[1] = (uint8_t)(v >> 8);
        p[2] = (uint8_t)(v >> 16);
        p[3] = (uint8_t)(v >> 24);
}

static uint32_t get32(const uint8_t *p) {
        return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void frame_header_encode(const FrameHeader *header, uint8_t ret_bytes[FRAME_HEADER_SIZE]) {
        assert(header->length <= FRAME_PAYLOAD_MAX);

        put32(ret_bytes, header->length);
        put32(ret_bytes + 4, header->type);
        put32(ret_bytes + 8, header->id);
}

int frame_header_decode(const uint8_t bytes[FRAME_HEADER_SIZE], FrameHeader *ret) {
        uint32_t length = get32(bytes);

        if (length > FRAME_PAYLOAD_MAX)
                return FRAME_E_TOO_LARGE;

        *ret = (FrameHeader){ .length = length, .type = get32(bytes + 4), .id = get32(bytes + 8) };
        return 0;
}

int frame_scan(FrameScanner *s, const uint8_t *bytes, size_t n, size_t *ret_used, FramePiece *ret) {
        FramePiece piece = {};
        size_t used = 0;

        assert(n > 0);

        if (s->remaining == 0) {
                used = FRAME_HEADER_SIZE - s->n_bytes;
                if (used > n)
                        used = n;
                memcpy(s->bytes + s->n_bytes, bytes, used);
                s->n_bytes += used;

                if (s->n_bytes == FRAME_HEADER_SIZE) {
                        int r = frame_header_decode(s->bytes, &s->header);
                        if (r != 0)
                                return r;
                        s->n_bytes = 0;
                        s->remaining = s->header.length;
                        piece.begins = true;
                        piece.ends = s->remaining == 0;
                        piece.header = s->header;
                }
        } else {
                used = n < s->remaining ? n : s->remaining;
                s->remaining -= (uint32_t)used;
                piece.data = bytes;
                piece.n_data = used;
                piece.header = s->header;
                piece.ends = s->remaining == 0;
        }

        *ret_used = used;
        *ret = piece;
        return 0;
}

bool frame_scanner_idle(const FrameScanner *s) {
        return s->remaining == 0 && s->n_bytes == 0;
}
