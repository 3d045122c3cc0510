/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/logged.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/message.h"
#include "lib/parse.h"

void logged_done(Logged *l) {
        for (size_t i = 0; i < l->n; i++)
                free(l->records[i].data);
        free(l->records);
        free(l->user);
        free(l->comm);
        free(l->reason);
        *l = (Logged){};
}

LoggedRecord *logged_append(Logged *l) {
        if (l->n == l->allocated) {
                l->allocated = l->allocated ? 2 * l->allocated : 64;
                l->records = reallocarray(l->records, l->allocated, sizeof(*l->records));
                if (!l->records)
                        message_out_of_memory();
        }
        l->records[l->n] = (LoggedRecord){};
        return &l->records[l->n++];
}

LoggedKind logged_kind(RecordEvent event, const char *frame) {
        static const char *const shown[] = { "output", "stderr", "prompt" }, *const typed[] = { "input",
                                                                                                "exec" };

        if (event != RECORD_INPUT && event != RECORD_OUTPUT)
                return LOGGED_OTHER;
        if (!frame)
                return event == RECORD_INPUT ? LOGGED_TYPED : LOGGED_SHOWN;
        for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++)
                if (strcmp(frame, shown[i]) == 0)
                        return LOGGED_SHOWN;
        for (size_t i = 0; i < sizeof(typed) / sizeof(*typed); i++)
                if (strcmp(frame, typed[i]) == 0)
                        return LOGGED_TYPED;
        return LOGGED_OTHER;
}

static uint64_t get_number(LoggedGet get, void *userdata, const char *name) {
        uint64_t v = 0;
        char text[24];
        size_t n;
        const char *value = get(name, &n, userdata);

        if (!value || n >= sizeof(text))
                return 0;
        memcpy(text, value, n);
        text[n] = '\0';
        return parse_u64(text, UINT64_MAX, &v) < 0 ? 0 : v;
}

/* The caller's; NULL where there is none. */
static char *get_text(LoggedGet get, void *userdata, const char *name) {
        size_t n;
        const char *value = get(name, &n, userdata);
        char *copy = value ? strndup(value, n) : NULL;

        if (value && !copy)
                message_out_of_memory();
        return copy;
}

static bool find_event(const char *name, RecordEvent *ret) {
        for (RecordEvent event = 0; name && event < _RECORD_EVENT_MAX; event++)
                if (strcmp(record_event_name(event), name) == 0) {
                        *ret = event;
                        return true;
                }
        return false;
}

static void take_start(Logged *l, RecordSeen *seen, LoggedGet get, void *userdata) {
        char *records = get_text(get, userdata, "MANHOLE_RECORDS");

        /* Records from before this field have both. */
        seen->omitted[RECORD_OF_INPUT] = records && !strstr(records, "input");
        seen->omitted[RECORD_OF_OUTPUT] = records && !strstr(records, "output");
        free(records);
        if (l->user)
                return; /* a second one, which the check finds */
        l->user = get_text(get, userdata, "MANHOLE_CLIENT_USER");
        l->comm = get_text(get, userdata, "MANHOLE_TARGET_COMM");
        l->pid = get_number(get, userdata, "MANHOLE_TARGET_PID");
}

static void take_end(Logged *l, RecordSeen *seen, LoggedGet get, void *userdata) {
        seen->bytes[RECORD_OF_INPUT] = get_number(get, userdata, "MANHOLE_INPUT_BYTES");
        seen->bytes[RECORD_OF_OUTPUT] = get_number(get, userdata, "MANHOLE_OUTPUT_BYTES");
        seen->records[RECORD_OF_INPUT] = get_number(get, userdata, "MANHOLE_INPUT_RECORDS");
        seen->records[RECORD_OF_OUTPUT] = get_number(get, userdata, "MANHOLE_OUTPUT_RECORDS");
        seen->lost = get_number(get, userdata, "MANHOLE_LOST");
        free(l->reason);
        l->reason = get_text(get, userdata, "MANHOLE_REASON");
}

static void take_data(LoggedRecord *record, LoggedGet get, void *userdata) {
        char *frame = get_text(get, userdata, "MANHOLE_FRAME");
        const char *data;
        size_t n = 0;

        record->seen.position = get_number(get, userdata, "MANHOLE_POS");
        record->kind = logged_kind(record->seen.event, frame);
        free(frame);
        data = get("MANHOLE_DATA", &n, userdata);
        record->seen.size = n;
        if (data && record->kind != LOGGED_OTHER)
                record->data = malloc(n + 1);
        if (record->data)
                memcpy(record->data, data, n);
}

bool logged_add(Logged *l, LoggedGet get, void *userdata) {
        char *name = get_text(get, userdata, "MANHOLE_EVENT");
        RecordEvent event = _RECORD_EVENT_MAX;
        bool ours = find_event(name, &event);
        LoggedRecord *record;

        free(name);
        if (!ours)
                return false;
        record = logged_append(l);
        record->seen = (RecordSeen){ .event = event,
                                     .seq = get_number(get, userdata, "MANHOLE_SEQ"),
                                     .usec = get_number(get, userdata, "MANHOLE_USEC") };
        switch (event) {
        case RECORD_START:
                take_start(l, &record->seen, get, userdata);
                break;
        case RECORD_INPUT:
        case RECORD_OUTPUT:
        case RECORD_DROPPED:
                take_data(record, get, userdata);
                break;
        case RECORD_END:
                take_end(l, &record->seen, get, userdata);
                break;
        default:
                break;
        }
        return true;
}
