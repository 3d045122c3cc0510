/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/notice.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/console.h"

/* Of the text alone, which is escaped: as JSON it is at most twice as long. */
#define TEXT_MAX 384U

static const char *const kind_names[_NOTICE_KIND_MAX] = {
        [NOTICE_JOINED] = "joined", [NOTICE_LEFT] = "left", [NOTICE_END] = "end",
};

static void send_frame(Session *s, NoticeKind kind, const char *text) {
        json_t *notice = json_pack("{s:s, s:s}", "kind", kind_names[kind], "text", text);
        _cleanup_free_ char *payload = notice ? json_dumps(notice, JSON_COMPACT) : NULL;

        json_decref(notice);
        if (payload)
                flow_insert(&s->to_client, CONSOLE_NOTICE, payload, strlen(payload));
}

void notice_send(Session *s, NoticeKind kind, const char *format, ...) {
        char text[TEXT_MAX], line[TEXT_MAX + 16];
        va_list args;

        if (s->state != SESSION_RELAYING || (!s->wants_frames && kind != NOTICE_END))
                return;
        va_start(args, format);
        (void)vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        if (s->framed) {
                send_frame(s, kind, text);
                return;
        }
        (void)snprintf(line, sizeof(line), "\n[manholed: %s]\n", text);
        flow_insert(&s->to_client, 0, line, strlen(line));
}
