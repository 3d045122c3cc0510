/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/cast.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/escape.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

void cast_text_done(CastText *t) {
        free(t->bytes);
        *t = (CastText){};
}

/* Room for @n more bytes; NULL without memory. */
static char *room(CastText *t, size_t n) {
        if (t->n + n > t->allocated) {
                size_t allocated = (t->n + n) * 2;
                char *grown = t->failed ? NULL : realloc(t->bytes, allocated);

                if (!grown) {
                        t->failed = true;
                        return NULL;
                }
                t->bytes = grown;
                t->allocated = allocated;
        }
        return t->bytes + t->n;
}

static void put(CastText *t, const char *bytes, size_t n) {
        char *to = room(t, n);

        if (!to)
                return;
        memcpy(to, bytes, n);
        t->n += n;
}

static void put_text(CastText *t, const char *text) {
        put(t, text, strlen(text));
}

static int finish(CastText *t) {
        return t->failed ? -ENOMEM : 0;
}

static void begin(CastText *t) {
        t->n = 0;
        t->failed = false;
}

/* ------------------------------------------------------------ JSON strings */

/* What stands for itself in a JSON string. */
static bool is_plain(unsigned char c) {
        return c >= ' ' && c < 0x80 && c != '"' && c != '\\';
}

/* A character that does not; its UTF-8 is valid. */
static void put_character(CastText *t, const char *p, size_t length) {
        char escaped[8];

        if (length > 1)
                put(t, p, length);
        else if (*p == '\n')
                put_text(t, "\\n");
        else if (*p == '\r')
                put_text(t, "\\r");
        else if (*p == '"' || *p == '\\')
                put(t, (const char[]){ '\\', *p }, 2);
        else {
                (void)snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned char)*p);
                put_text(t, escaped);
        }
}

/*
 * The inside of a string. With @terminal line ends are as a terminal needs them. False if the bytes cannot
 * be told from the text: what is not UTF-8 is U+FFFD in it.
 */
static bool put_bytes(CastText *t, const char *p, size_t n, bool terminal) {
        bool exact = true;

        while (n > 0) {
                size_t run = 0, length;

                while (run < n && is_plain((unsigned char)p[run]))
                        run++;
                put(t, p, run);
                p += run;
                n -= run;
                if (n == 0)
                        break;
                length = utf8_length(p, n, NULL);
                if (length == 0) {
                        exact = false;
                        put_text(t, REPLACEMENT);
                        length = 1;
                } else {
                        if (terminal && *p == '\r')
                                exact = false;
                        if (terminal && *p == '\n')
                                put_text(t, "\\r");
                        put_character(t, p, length);
                }
                p += length;
                n -= length;
        }
        return exact;
}

/* ------------------------------------------------------------------ fields */

typedef struct Fields {
        CastText *text;
        bool any;
} Fields;

/* A field that is not UTF-8 is escaped as in log lines, since a reader could not tell U+FFFDs apart. */
static int put_field(const char *name, const void *data, size_t n, void *userdata) {
        Fields *fields = userdata;
        CastText *t = fields->text;
        char escaped[1024];
        size_t before;

        put_text(t, fields->any ? ",\"" : "{\"");
        fields->any = true;
        put_text(t, name);
        put_text(t, "\":\"");
        before = t->n;
        if (!put_bytes(t, data, n, false)) {
                t->n = before;
                (void)put_bytes(t, escaped, escape_text(escaped, sizeof(escaped), data, n), false);
        }
        put_text(t, "\"");
        return 0;
}

static void put_fields(CastText *t, const Record *record) {
        Fields fields = { .text = t };

        (void)record_fields(record, put_field, &fields);
}

int cast_fields(CastText *t, const Record *record, const struct timespec *now) {
        struct tm tm;
        char time[64];
        size_t n;

        begin(t);
        put_fields(t, record);
        (void)gmtime_r(&now->tv_sec, &tm);
        n = strftime(time, sizeof(time), ",\"TIME\":\"%Y-%m-%dT%H:%M:%S", &tm);
        (void)snprintf(time + n, sizeof(time) - n, ".%06ldZ\"}\n", now->tv_nsec / 1000);
        put_text(t, time);
        return finish(t);
}

/* ------------------------------------------------------------------- lines */

int cast_header(CastText *t, const Record *start, time_t now) {
        char head[128];

        begin(t);
        (void)snprintf(
                head, sizeof(head),
                "{\"version\":2,\"width\":80,\"height\":24,\"timestamp\":%lld,\"manhole\":", (long long)now);
        put_text(t, head);
        put_fields(t, start);
        put_text(t, "}}\n");
        return finish(t);
}

static void open_event(CastText *t, const Record *record, const char *code) {
        char head[96];

        (void)snprintf(head, sizeof(head), "[%" PRIu64 ".%06" PRIu64 ",\"%s\",\"", record->usec / 1000000U,
                       record->usec % 1000000U, code);
        put_text(t, head);
}

static void close_event(CastText *t) {
        put_text(t, "\"]\n");
}

/* Bytes that a reader could not tell from the text before: the code with an x, and hexadecimal. */
static void put_exact(CastText *t, const Record *record, const char *code) {
        static const char digits[] = "0123456789abcdef";
        const uint8_t *data = record->data;
        char exact[32], *to;

        (void)snprintf(exact, sizeof(exact), "x%s", code);
        open_event(t, record, exact);
        to = room(t, record->n_data * 2);
        for (size_t i = 0; to && i < record->n_data; i++) {
                to[2 * i] = digits[data[i] >> 4];
                to[2 * i + 1] = digits[data[i] & 15];
        }
        if (to)
                t->n += record->n_data * 2;
        close_event(t);
}

/* What a terminal showed or a person typed has asciicast's own codes; players pass over others. */
static const char *code_of(const Record *record) {
        static const char *const shown[] = { "output", "stderr", "prompt", "input", "exec" };

        if (!record->frame)
                return record->event == RECORD_INPUT ? "i" : "o";
        for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++)
                if (strcmp(record->frame, shown[i]) == 0)
                        return record->event == RECORD_INPUT ? "i" : "o";
        return record->frame;
}

static void put_data(CastText *t, const Record *record) {
        const char *code = code_of(record);
        bool exact;

        open_event(t, record, code);
        exact = put_bytes(t, record->data, record->n_data, true);
        close_event(t);
        if (!exact)
                put_exact(t, record, code);
}

/* For players, which show it as such. */
static void put_marker(CastText *t, const Record *record) {
        const char *about = record->actor ? record->actor->user : record->reason;
        char text[128];

        open_event(t, record, "m");
        put_text(t, record_event_name(record->event));
        if (about) {
                put_text(t, ": ");
                (void)put_bytes(t, text, escape_text(text, sizeof(text), about, strlen(about)), false);
        }
        close_event(t);
}

/* The record itself, so that the file alone can be held against it: JSON within JSON. */
static void put_record(CastText *t, const Record *record) {
        CastText fields = {};

        put_fields(&fields, record);
        put_text(&fields, "}");
        open_event(t, record, "record");
        (void)put_bytes(t, fields.bytes, fields.failed ? 0 : fields.n, false);
        close_event(t);
        t->failed = t->failed || fields.failed;
        cast_text_done(&fields);
}

int cast_event(CastText *t, const Record *record) {
        begin(t);
        if (record->event == RECORD_INPUT || record->event == RECORD_OUTPUT ||
            record->event == RECORD_DROPPED)
                put_data(t, record);
        else {
                put_marker(t, record);
                put_record(t, record);
        }
        return finish(t);
}
