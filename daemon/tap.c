/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/tap.h"

#include "lib/console.h"

static const char *const request_names[_CONSOLE_REQUEST_MAX] = {
        [CONSOLE_HELLO] = "hello",         [CONSOLE_OPEN] = "open",     [CONSOLE_INPUT] = "input",
        [CONSOLE_INTERRUPT] = "interrupt", [CONSOLE_EXEC] = "exec",     [CONSOLE_COMPLETE] = "complete",
        [CONSOLE_HISTORY] = "history",     [CONSOLE_STACKS] = "stacks", [CONSOLE_TASKS] = "tasks",
        [CONSOLE_HEALTH] = "health",
};

static const char *const reply_names[_CONSOLE_REPLY_MAX - CONSOLE_ANSWER] = {
        [CONSOLE_ANSWER - CONSOLE_ANSWER] = "answer",   [CONSOLE_OUTPUT - CONSOLE_ANSWER] = "output",
        [CONSOLE_STDERR - CONSOLE_ANSWER] = "stderr",   [CONSOLE_PROMPT - CONSOLE_ANSWER] = "prompt",
        [CONSOLE_DROPPED - CONSOLE_ANSWER] = "dropped", [CONSOLE_END - CONSOLE_ANSWER] = "end",
};

static const char *frame_name(const Tap *t, uint32_t type) {
        if (t->from_client)
                return type < _CONSOLE_REQUEST_MAX ? request_names[type] : NULL;
        return type >= CONSOLE_ANSWER && type < _CONSOLE_REPLY_MAX ? reply_names[type - CONSOLE_ANSWER] : NULL;
}

int tap_next(Tap *t, const uint8_t *bytes, size_t n, size_t *ret_used, TapPiece *ret) {
        TapPiece piece = { .event = t->from_client ? RECORD_INPUT : RECORD_OUTPUT };
        FramePiece frame;

        n = n < RECORD_DATA_MAX ? n : RECORD_DATA_MAX;
        if (!t->framed) {
                piece.record = true;
                piece.data = bytes;
                piece.n_data = *ret_used = n;
                *ret = piece;
                return 0;
        }

        if (frame_scan(&t->scanner, bytes, n, ret_used, &frame) != 0)
                return TAP_E_PROTOCOL;
        if (frame.begins || frame.n_data > 0) {
                piece.frame = frame_name(t, frame.header.type);
                if (!piece.frame)
                        return TAP_E_PROTOCOL;
        }
        if (!t->from_client && piece.frame && frame.header.type == CONSOLE_DROPPED)
                piece.event = RECORD_DROPPED;
        piece.type = piece.frame ? frame.header.type : 0;
        piece.id = piece.frame ? frame.header.id : 0;
        piece.begins = frame.begins;
        piece.ends = frame.ends;
        piece.data = frame.data;
        piece.n_data = frame.n_data;
        /* An empty request (end of input, an interrupt) is an act of the client, and kept. */
        piece.record = frame.n_data > 0 || (t->from_client && frame.begins && frame.ends);
        *ret = piece;
        return 0;
}
