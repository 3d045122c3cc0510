/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the broker says to a session's client: in a framed session a frame of its own
 * (docs/CONSOLE-PROTOCOL.md), in the plain face a line.
 *
 * In the plain face programs listen too, and what comes is the target's but for the reason of an end:
 * other notices are for clients that asked for frames.
 */

#include "daemon/session.h"

typedef enum NoticeKind {
        NOTICE_JOINED,
        NOTICE_LEFT,
        NOTICE_WATCHED,
        NOTICE_UNWATCHED,
        NOTICE_END,
        _NOTICE_KIND_MAX,
} NoticeKind;

/* A notice's payload in a frame: 0, or -ENOBUFS. */
int notice_encode(NoticeKind kind, const char *text, char *ret, size_t size);

/* Says it when the target has finished its frame, if the session relays. */
void notice_send(Session *s, NoticeKind kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
