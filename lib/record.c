/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/record.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "lib/escape.h"

typedef struct EventInfo {
        const char *name;
        int priority;
        sd_id128_t message_id;
} EventInfo;

/* The ids are fixed for ever: the catalog and readers know them. */
static const EventInfo events[_RECORD_EVENT_MAX] = {
        [RECORD_START] = { "start", LOG_NOTICE,
                SD_ID128_MAKE(02,9b,a6,fe,31,3e,48,31,92,10,94,7b,41,53,b1,6a) },
        [RECORD_INPUT] = { "input", LOG_NOTICE,
                SD_ID128_MAKE(a8,75,32,b9,88,e4,45,21,a4,ff,28,cd,73,6c,d1,99) },
        /* Output is bulky and may hold secrets: its text stands in MANHOLE_DATA alone. */
        [RECORD_OUTPUT] = { "output", LOG_DEBUG,
                SD_ID128_MAKE(bc,d1,fd,08,f0,95,46,1e,bc,f7,97,fe,88,71,97,84) },
        [RECORD_DROPPED] = { "dropped", LOG_NOTICE,
                SD_ID128_MAKE(45,9d,ee,bb,21,cd,45,c6,b9,9f,0c,b9,a3,17,ce,04) },
        [RECORD_END] = { "end", LOG_NOTICE,
                SD_ID128_MAKE(ca,c2,a8,41,cf,90,4c,99,a6,20,da,94,96,27,80,41) },
        [RECORD_DENIED] = { "denied", LOG_WARNING,
                SD_ID128_MAKE(6a,4f,f6,c1,cd,97,49,b7,b8,b4,4d,0f,73,a1,f8,b2) },
        [RECORD_STALE] = { "stale", LOG_INFO,
                SD_ID128_MAKE(1b,15,d0,28,ca,08,4b,d3,a8,71,a2,81,9d,45,93,5b) },
        [RECORD_WATCH] = { "watch", LOG_NOTICE,
                SD_ID128_MAKE(79,d8,29,13,b3,d5,49,fb,bd,75,82,7c,5f,70,e0,29) },
        [RECORD_UNWATCH] = { "unwatch", LOG_NOTICE,
                SD_ID128_MAKE(b8,84,83,a2,56,8e,43,24,a3,b2,7f,da,3b,11,46,3e) },
        [RECORD_LINGER] = { "linger", LOG_NOTICE,
                SD_ID128_MAKE(8a,59,45,85,54,8f,40,11,b8,5c,95,09,53,b7,43,dc) },
        [RECORD_RESUME] = { "resume", LOG_NOTICE,
                SD_ID128_MAKE(24,04,83,35,a8,90,49,89,85,da,36,00,b8,a5,99,7b) },
        [RECORD_RESTART] = { "restart", LOG_NOTICE,
                SD_ID128_MAKE(92,83,44,78,a3,23,49,b4,be,d6,8d,75,00,e0,8a,a2) },
};

const char *record_event_name(RecordEvent event) {
        return events[event].name;
}

sd_id128_t record_message_id(RecordEvent event) {
        return events[event].message_id;
}

typedef struct Walk {
        RecordField field;
        void *userdata;
        int error;
} Walk;

static void put_bytes(Walk *w, const char *name, const void *data, size_t n) {
        if (w->error == 0)
                w->error = w->field(name, data, n, w->userdata);
}

static void put_text(Walk *w, const char *name, const char *text) {
        if (text)
                put_bytes(w, name, text, strlen(text));
}

static void put_number(Walk *w, const char *name, uint64_t v) {
        char text[24];

        (void)snprintf(text, sizeof(text), "%" PRIu64, v);
        put_text(w, name, text);
}

static void put_message(Walk *w, const Record *r) {
        const RecordParties *p = r->parties;
        char user[72], who[96], whom[96], actor[96] = "", text[512], message[1024];

        escape_text(whom, sizeof(whom), p->target_comm ?: "?", strlen(p->target_comm ?: "?"));
        escape_text(user, sizeof(user), p->client_user ?: "?", strlen(p->client_user ?: "?"));
        (void)snprintf(who, sizeof(who), "%s (uid %u)", user, (unsigned)p->client_uid);

        if (r->actor) {
                escape_text(user, sizeof(user), r->actor->user, strlen(r->actor->user));
                (void)snprintf(actor, sizeof(actor), "%s (uid %u)", user, (unsigned)r->actor->uid);
        }

        switch (r->event) {
        case RECORD_START:
                (void)snprintf(message, sizeof(message), "Session %s: %s opened a console in %s[%d].",
                               p->session, who, whom, (int)p->target_pid);
                break;
        case RECORD_INPUT:
                escape_text(text, sizeof(text), r->data, r->n_data);
                (void)snprintf(message, sizeof(message), "Session %s: %s sent %s: %s", p->session, who,
                               r->frame ?: "input", text);
                break;
        case RECORD_OUTPUT:
                (void)snprintf(message, sizeof(message), "Session %s: %s[%d] answered %zu bytes.",
                               p->session, whom, (int)p->target_pid, r->n_data);
                break;
        case RECORD_DROPPED:
                (void)snprintf(message, sizeof(message), "Session %s: %s[%d] left out output for a slow client.",
                               p->session, whom, (int)p->target_pid);
                break;
        case RECORD_END:
                escape_text(text, sizeof(text), r->reason, strlen(r->reason));
                (void)snprintf(message, sizeof(message), "Session %s of %s in %s[%d] ended: %s.",
                               p->session, who, whom, (int)p->target_pid, text);
                break;
        case RECORD_DENIED:
                escape_text(text, sizeof(text), r->reason, strlen(r->reason));
                (void)snprintf(message, sizeof(message), "Refused %s a console in %s[%d]: %s", who, whom,
                               (int)p->target_pid, text);
                break;
        case RECORD_STALE:
                escape_text(text, sizeof(text), r->socket, strlen(r->socket));
                (void)snprintf(message, sizeof(message), r->removed ? "Removed stale socket %s." :
                               "Found stale socket %s, and left it.", text);
                break;
        case RECORD_WATCH:
                (void)snprintf(message, sizeof(message), "Session %s of %s in %s[%d] is watched by %s.",
                               p->session, who, whom, (int)p->target_pid, actor);
                break;
        case RECORD_UNWATCH:
                (void)snprintf(message, sizeof(message), "Session %s of %s in %s[%d] is no longer watched by %s.",
                               p->session, who, whom, (int)p->target_pid, actor);
                break;
        case RECORD_LINGER:
                (void)snprintf(message, sizeof(message), "Session %s of %s in %s[%d] has lost its client.",
                               p->session, who, whom, (int)p->target_pid);
                break;
        case RECORD_RESUME:
                (void)snprintf(message, sizeof(message), "Session %s of %s in %s[%d] was taken up again.",
                               p->session, who, whom, (int)p->target_pid);
                break;
        case RECORD_RESTART:
                escape_text(text, sizeof(text), r->reason, strlen(r->reason));
                (void)snprintf(message, sizeof(message), "Session %s of %s in %s[%d] goes on: %s.", p->session, who, whom,
                               (int)p->target_pid, text);
                break;
        case _RECORD_EVENT_MAX:
                assert(false);
        }
        put_text(w, "MESSAGE", message);
}

/* @who is "CLIENT" or "ACTOR". */
static void put_origin_field(Walk *w, const char *who, const char *what, const char *text) {
        char name[40];

        (void)snprintf(name, sizeof(name), "MANHOLE_%s_%s", who, what);
        put_text(w, name, text);
}

static void put_origin_id(Walk *w, const char *who, const char *what, uint32_t id) {
        char text[16];

        (void)snprintf(text, sizeof(text), "%" PRIu32, id);
        if (id != RECORD_ID_UNSET)
                put_origin_field(w, who, what, text);
}

static void put_origin(Walk *w, const char *who, const RecordOrigin *origin) {
        if (!origin)
                return;
        put_origin_id(w, who, "LOGINUID", origin->login_uid);
        put_origin_id(w, who, "AUDIT_SESSION", origin->audit_session);
        put_origin_field(w, who, "TTY", origin->tty);
        put_origin_field(w, who, "COMM", origin->comm);
        put_origin_field(w, who, "COMMAND", origin->command);
}

static void put_parties(Walk *w, const Record *r) {
        const RecordParties *p = r->parties;

        put_text(w, "MANHOLE_SESSION", p->session);
        /* A pid of 0 is a client all the same: one in a pid namespace that is not below ours. */
        if (r->event != RECORD_STALE) {
                put_number(w, "MANHOLE_CLIENT_UID", p->client_uid);
                put_text(w, "MANHOLE_CLIENT_USER", p->client_user);
                put_number(w, "MANHOLE_CLIENT_PID", (uint64_t)p->client_pid);
        }
        if (r->event == RECORD_START || r->event == RECORD_DENIED)
                put_origin(w, "CLIENT", p->client_origin);
        if (p->target_pid > 0) {
                put_number(w, "MANHOLE_TARGET_PID", (uint64_t)p->target_pid);
                put_number(w, "MANHOLE_TARGET_UID", p->target_uid);
                put_text(w, "MANHOLE_TARGET_COMM", p->target_comm);
                put_text(w, "MANHOLE_TARGET_UNIT", p->target_unit);
                if (!p->target_gone)
                        put_number(w, "OBJECT_PID", (uint64_t)p->target_pid);
                /* A session's end is often the process's end, and heard of first. */
                if (p->target_gone || r->event == RECORD_END)
                        put_text(w, "OBJECT_SYSTEMD_UNIT", p->target_unit);
        }
}

static void put_in_session(Walk *w, const Record *r) {
        put_number(w, "MANHOLE_SEQ", r->seq);
        put_number(w, "MANHOLE_USEC", r->usec);
        if (r->event == RECORD_INPUT || r->event == RECORD_OUTPUT || r->event == RECORD_DROPPED) {
                put_number(w, "MANHOLE_POS", r->position);
                put_text(w, "MANHOLE_FRAME", r->frame);
                put_bytes(w, "MANHOLE_DATA", r->data, r->n_data);
        }
        put_text(w, "MANHOLE_RECORDING", r->recording);
        put_text(w, "MANHOLE_RECORDS", r->records);
        if (r->event == RECORD_END) {
                if (r->lost > 0)
                        put_number(w, "MANHOLE_LOST", r->lost);
                put_number(w, "MANHOLE_INPUT_BYTES", r->input_bytes);
                put_number(w, "MANHOLE_OUTPUT_BYTES", r->output_bytes);
                put_number(w, "MANHOLE_INPUT_RECORDS", r->input_records);
                put_number(w, "MANHOLE_OUTPUT_RECORDS", r->output_records);
        }
}

static void put_actor(Walk *w, const Record *r) {
        if (!r->actor)
                return;
        put_number(w, "MANHOLE_ACTOR_UID", r->actor->uid);
        put_text(w, "MANHOLE_ACTOR_USER", r->actor->user);
        put_number(w, "MANHOLE_ACTOR_PID", (uint64_t)r->actor->pid);
        if (r->event == RECORD_WATCH || r->event == RECORD_RESUME)
                put_origin(w, "ACTOR", r->actor->origin);
        if (r->event == RECORD_UNWATCH || r->event == RECORD_RESUME)
                put_number(w, "MANHOLE_MISSED", r->missed);
}

int record_fields(const Record *record, RecordField field, void *userdata) {
        Walk w = { .field = field, .userdata = userdata };
        char id[SD_ID128_STRING_MAX];

        assert(record->n_data <= RECORD_DATA_MAX);

        put_message(&w, record);
        put_text(&w, "MESSAGE_ID", sd_id128_to_string(events[record->event].message_id, id));
        put_number(&w, "PRIORITY", (uint64_t)events[record->event].priority);
        put_text(&w, "MANHOLE_EVENT", events[record->event].name);
        put_number(&w, "MANHOLE_VERSION", RECORD_VERSION);
        put_parties(&w, record);
        if (record->parties->session)
                put_in_session(&w, record);
        put_actor(&w, record);
        put_text(&w, "MANHOLE_REASON", record->reason);
        put_text(&w, "MANHOLE_SOCKET", record->socket);
        if (record->event == RECORD_STALE)
                put_text(&w, "MANHOLE_REMOVED", record->removed ? "yes" : "no");
        return w.error;
}
