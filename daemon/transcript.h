/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A session as somebody would have seen it who looked over its user's shoulder: pure.
 *
 * Of both faces and both directions: what was shown and what was typed, without the frames that only
 * programs read (questions, answers).
 */

#include <stdbool.h>

#include "daemon/tap.h"

typedef enum TranscriptKind {
        TRANSCRIPT_NOTHING,
        TRANSCRIPT_OUTPUT,
        TRANSCRIPT_STDERR,
        TRANSCRIPT_PROMPT,
        TRANSCRIPT_TYPED,
} TranscriptKind;

typedef struct TranscriptPiece {
        TranscriptKind kind;
        const void *data; /* of the piece, or static */
        size_t n_data;
} TranscriptPiece;

TranscriptPiece transcript_piece(bool from_client, const TapPiece *piece);
