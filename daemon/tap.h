/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What of a stream is to be recorded: pure.
 *
 * In the plain face every byte is; with frames it is the payloads, while headers only say what
 * they are. A tap looks at bytes in the pieces in which they arrive and cuts them into pieces that
 * fit one record, without ever needing a whole frame.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/frame.h"
#include "lib/record.h"

enum {
        _TAP_E_SUCCESS,
        TAP_E_PROTOCOL, /* an oversized frame, or one of a type this direction does not have */
};

typedef struct Tap {
        bool framed;
        bool from_client; /* requests and input; else answers and output */
        FrameScanner scanner;
} Tap;

typedef struct TapPiece {
        bool record; /* false: nothing here is worth a record */
        RecordEvent event;
        const char *frame; /* static: the frame's kind; NULL in the plain face */
        uint32_t type, id; /* the same as a number (lib/console.h), and of which request; 0 in the plain face */
        bool begins, ends; /* the frame's first and last piece */
        const uint8_t *data;
        size_t n_data; /* at most RECORD_DATA_MAX */
} TapPiece;

/*
 * Describes the next piece of the @n bytes (n > 0) and how many bytes it takes up. The tap moves
 * on: keep a copy, and put it back if the piece cannot be dealt with now. 0 or TAP_E_PROTOCOL.
 */
int tap_next(Tap *t, const uint8_t *bytes, size_t n, size_t *ret_used, TapPiece *ret);
