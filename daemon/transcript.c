/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/transcript.h"

#include "lib/console.h"

static TranscriptKind kind_of(bool from_client, uint32_t type) {
        switch (type) {
        case 0: /* the plain face */
                return from_client ? TRANSCRIPT_TYPED : TRANSCRIPT_OUTPUT;
        case CONSOLE_INPUT:
        case CONSOLE_EXEC:
        case CONSOLE_INTERRUPT:
                return TRANSCRIPT_TYPED;
        case CONSOLE_OUTPUT:
                return TRANSCRIPT_OUTPUT;
        case CONSOLE_STDERR:
                return TRANSCRIPT_STDERR;
        case CONSOLE_PROMPT:
                return TRANSCRIPT_PROMPT;
        default:
                return TRANSCRIPT_NOTHING;
        }
}

TranscriptPiece transcript_piece(bool from_client, const TapPiece *piece) {
        TranscriptPiece result = { kind_of(from_client, piece->type), piece->data, piece->n_data };

        /* Acts without text, as a terminal echoes them. */
        if (piece->type == CONSOLE_INTERRUPT && piece->begins)
                return (TranscriptPiece){ TRANSCRIPT_TYPED, "^C\n", 3 };
        if (piece->type == CONSOLE_INPUT && piece->begins && piece->ends)
                return (TranscriptPiece){ TRANSCRIPT_TYPED, "^D\n", 3 };
        if (result.n_data == 0)
                result.kind = TRANSCRIPT_NOTHING;
        return result;
}
