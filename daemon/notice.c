/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/notice.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/console.h"

/* Of the text alone, which is escaped: as JSON it is at most twice as long. */
#define TEXT_MAX 384U

static const char *const kind_names[_NOTICE_KIND_MAX] = {
        [NOTICE_JOINED] = "joined", [NOTICE_LEFT] = "left", [NOTICE_WATCHED] = "watched",
        [NOTICE_UNWATCHED] = "unwatched", [NOTICE_END] = "end",
};

int notice_encode(NoticeKind kind, const char *text, char *ret, size_t size) {
        json_t *notice = json_pack("{s:s, s:s}", "kind", kind_names[kind], "text", text);
        size_t n = notice ? json_dumpb(notice, ret, size - 1, JSON_COMPACT) : size;

        json_decref(notice);
        if (n >= size)
                return -ENOBUFS;
        ret[n] = '\0';
        return 0;
}

static void send_frame(Session *s, NoticeKind kind, const char *text) {
        char payload[FLOW_INSERT_MAX];

        if (notice_encode(kind, text, payload, sizeof(payload)) == 0)
                flow_insert(&s->to_client, CONSOLE_NOTICE, payload, strlen(payload));
}

void notice_send(Session *s, NoticeKind kind, const char *format, ...) {
        char text[TEXT_MAX], line[TEXT_MAX + 16];
        va_list args;

        if (s->state != SESSION_RELAYING || s->client_fd < 0 || (!s->facts.wants_frames && kind != NOTICE_END))
                return;
        va_start(args, format);
        (void)vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        if (s->facts.framed) {
                send_frame(s, kind, text);
                return;
        }
        (void)snprintf(line, sizeof(line), "\n[manholed: %s]\n", text);
        flow_insert(&s->to_client, 0, line, strlen(line));
}
