/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/backlog.h"

#include <errno.h>
#include <string.h>

#include "lib/console.h"

int backlog_init(Backlog *b) {
        *b = (Backlog){ .text = evbuffer_new() };
        return b->text ? 0 : -ENOMEM;
}

void backlog_done(Backlog *b) {
        if (b->text)
                evbuffer_free(b->text);
        *b = (Backlog){};
}

/* Not in the middle of a character of UTF-8. */
static size_t whole_characters(Backlog *b, size_t n) {
        size_t length = evbuffer_get_length(b->text), look = length - n < 3 ? length - n : 3;
        const unsigned char *p = evbuffer_pullup(b->text, (ev_ssize_t)(n + look));

        for (size_t i = 0; p && i < look && (p[n] & 0xc0U) == 0x80U; i++)
                n++;
        return n;
}

static void add(Backlog *b, const void *data, size_t n) {
        size_t length;

        (void)evbuffer_add(b->text, data, n);
        b->n_new += n;
        length = evbuffer_get_length(b->text);
        if (length > BACKLOG_MAX)
                (void)evbuffer_drain(b->text, whole_characters(b, length - BACKLOG_MAX));
}

void backlog_mark(Backlog *b) {
        b->n_new = 0;
}

uint64_t backlog_missed(const Backlog *b) {
        size_t length = evbuffer_get_length(b->text);

        return b->n_new > length ? b->n_new - length : 0;
}

static void add_prompt(Backlog *b, const TapPiece *piece) {
        size_t room = sizeof(b->prompt) - b->n_prompt, n = piece->n_data < room ? piece->n_data : room;

        if (piece->begins) {
                b->n_prompt = 0;
                b->prompts = true;
        }
        if (n > 0)
                memcpy(b->prompt + b->n_prompt, piece->data, n);
        b->n_prompt += n;
}

void backlog_add(Backlog *b, const TapPiece *piece, const TranscriptPiece *shown) {
        if (!b->text)
                return;
        if (piece->type == CONSOLE_PROMPT) {
                add_prompt(b, piece);
                return;
        }
        if (shown->kind == TRANSCRIPT_NOTHING)
                return;
        if (shown->kind == TRANSCRIPT_TYPED && b->prompts) {
                add(b, b->prompt, b->n_prompt);
                b->prompts = false;
        }
        add(b, shown->data, shown->n_data);
}
