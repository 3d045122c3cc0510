/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/session-slate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/log.h"
#include "daemon/store.h"

/* ------------------------------------------------------------ writing down */

static void collect_flow(SlateFlow *v, const FlowFacts *f) {
        const FrameScanner *scanner = &f->tap.scanner;

        *v = (SlateFlow){ .written = f->written,
                          .taken = f->taken,
                          .read_from = f->read_from,
                          .read_to = f->read_to,
                          .frame_length = scanner->header.length,
                          .frame_type = scanner->header.type,
                          .frame_id = scanner->header.id,
                          .frame_remaining = scanner->remaining,
                          .n_header = (uint8_t)scanner->n_bytes,
                          .eof = f->eof };
        memcpy(v->header, scanner->bytes, sizeof(v->header));
}

static void collect(SlateState *v, void *userdata) {
        const Session *s = userdata;
        const FlowFacts *in = &s->to_agent.facts, *out = &s->to_client.facts;

        v->seq = s->record.seq;
        v->client_pid = (uint64_t)s->facts.peer.pid;
        v->input_bytes = in->position;
        v->output_bytes = out->position;
        v->input_records = in->n_records;
        v->output_records = out->n_records;
        v->mark = s->record.mark;
        v->used = s->record.used;
        v->n_lost = s->record.n_lost;
        v->last_input = s->facts.last_input;
        v->linger_until = s->facts.linger_until;
        v->backlog_new = s->backlog.n_new;
        v->console_id = s->facts.console_id;
        v->console_open = s->facts.console_open;
        v->joined = s->facts.joined;
        v->suspended = s->state == SESSION_SUSPENDED;
        v->ended = s->state == SESSION_ENDED && TAILQ_EMPTY(&s->mirrors);
        v->n_backlog = s->state == SESSION_SUSPENDED && s->backlog.text
                               ? (uint32_t)evbuffer_get_length(s->backlog.text)
                               : 0;
        v->n_prompt = (uint32_t)s->backlog.n_prompt;
        v->prompts = s->backlog.prompts;
        memcpy(v->prompt, s->backlog.prompt, sizeof(v->prompt));
        collect_flow(&v->flows[SLATE_INPUT], in);
        collect_flow(&v->flows[SLATE_OUTPUT], out);
}

static void put_text(char *ret, size_t size, const char *text) {
        (void)snprintf(ret, size, "%s", text ?: "");
}

static void fill_in(Session *s) {
        const RecorderRules *rules = &s->record.rules;
        const SessionFacts *facts = &s->facts;
        SlateHeader *h = &s->slate.pages->header;

        put_text(h->session, sizeof(h->session), facts->id);
        put_text(h->recorder, sizeof(h->recorder), s->host->recorder->vtable->name);
        put_text(h->client_user, sizeof(h->client_user), s->client_user);
        put_text(h->target_comm, sizeof(h->target_comm), s->target_comm);
        put_text(h->target_unit, sizeof(h->target_unit), s->target_unit);
        h->started = s->record.started;
        h->client_uid = facts->peer.uid;
        h->target_pid = (uint32_t)facts->target_pid;
        h->target_uid = facts->ids.euid;
        s->slate.pages->fixed = (SlateFixed){
                .since = facts->since,
                .began = facts->began,
                .target_start = facts->target_start,
                .session_bytes_max = rules->session_bytes_max,
                .user_day_bytes_max = rules->user_day_bytes_max,
                .client_gid = facts->peer.gid,
                .ruid = facts->ids.ruid,
                .euid = facts->ids.euid,
                .suid = facts->ids.suid,
                .ns_pid = (uint32_t)facts->ids.ns_pid,
                .ns_nested = facts->ids.ns_nested,
                .wants_frames = facts->wants_frames,
                .wants_linger = facts->wants_linger,
                .framed = facts->framed,
                .recorder_mode = (uint8_t)rules->mode,
                .omit_input = rules->omit_input,
                .omit_output = rules->omit_output,
        };
}

int session_slate_begin(Session *s) {
        /* Two sockets and the slate. */
        int r = slate_init(&s->slate, store_has_room(s->host->store, 3));

        if (r < 0)
                return r;
        fill_in(s);
        s->slate.collect = collect;
        s->slate.userdata = s;
        s->record.slate = &s->slate;
        return 0;
}

/* ----------------------------------------------------------------- storing */

static const char *stored_name(char ret[STORE_NAME_MAX], const char *kind, const Session *s) {
        (void)snprintf(ret, STORE_NAME_MAX, "%s%s", kind, s->facts.id);
        return ret;
}

void session_slate_store(Session *s) {
        const int fds[] = { s->slate.fd, s->agent_fd };
        char name[STORE_NAME_MAX];

        if (s->slate.fd < 0)
                return;
        slate_commit(&s->slate);
        s->stored = store_put(s->host->store, stored_name(name, SESSION_STORED, s), fds, 2) == 0;
        session_slate_client_changed(s);
}

void session_slate_client_changed(Session *s) {
        char name[STORE_NAME_MAX];

        if (!s->stored)
                return;
        stored_name(name, CLIENT_STORED, s);
        if (s->client_stored)
                store_drop(s->host->store, name, 1);
        s->client_stored = s->client_fd >= 0 && store_put(s->host->store, name, &s->client_fd, 1) == 0;
}

void session_slate_drop(Session *s) {
        char name[STORE_NAME_MAX];

        if (!s->stored)
                return;
        /* What is still stored keeps a socket open that is only closed here. */
        (void)shutdown(s->agent_fd, SHUT_RDWR);
        if (s->client_fd >= 0)
                (void)shutdown(s->client_fd, SHUT_RDWR);
        if (s->client_stored)
                store_drop(s->host->store, stored_name(name, CLIENT_STORED, s), 1);
        store_drop(s->host->store, stored_name(name, SESSION_STORED, s), 2);
        s->stored = s->client_stored = false;
}

/* ----------------------------------------------------------------- loading */

static void load_flow(FlowFacts *f, const SlateFlow *v) {
        FrameScanner *scanner = &f->tap.scanner;

        f->written = v->written;
        f->taken = v->taken;
        f->read_from = v->read_from;
        f->read_to = v->read_to;
        f->eof = v->eof;
        scanner->header =
                (FrameHeader){ .length = v->frame_length, .type = v->frame_type, .id = v->frame_id };
        scanner->remaining = v->frame_remaining;
        scanner->n_bytes = v->n_header;
        memcpy(scanner->bytes, v->header, sizeof(scanner->bytes));
}

static int load_backlog(Backlog *b, const SlateState *v, const uint8_t *text) {
        if (backlog_init(b) < 0 || evbuffer_add(b->text, text, v->n_backlog) < 0)
                return -ENOMEM;
        b->n_new = v->backlog_new;
        b->n_prompt = v->n_prompt;
        b->prompts = v->prompts;
        memcpy(b->prompt, v->prompt, sizeof(b->prompt));
        return 0;
}

static void load_facts(Session *s, const SlateHeader *h, const SlateFixed *fixed, const SlateState *v) {
        s->facts = (SessionFacts){
                .peer = { .pid = (pid_t)v->client_pid, .uid = h->client_uid, .gid = fixed->client_gid },
                .target_pid = (pid_t)h->target_pid,
                .target_start = fixed->target_start,
                .ids = { .ruid = fixed->ruid,
                         .euid = fixed->euid,
                         .suid = fixed->suid,
                         .ns_pid = (pid_t)fixed->ns_pid,
                         .ns_nested = fixed->ns_nested },
                .wants_frames = fixed->wants_frames,
                .wants_linger = fixed->wants_linger,
                .framed = fixed->framed,
                .console_open = v->console_open,
                .console_id = v->console_id,
                .joined = v->joined,
                .since = (time_t)fixed->since,
                .began = fixed->began,
                .last_input = v->last_input,
                .linger_until = v->linger_until,
        };
        memcpy(s->facts.id, h->session, sizeof(s->facts.id));
}

static void load_record(Session *s, const SlateHeader *h, const SlateFixed *fixed, const SlateState *v) {
        s->record = (RecorderSession){
                .seq = v->seq,
                .started = h->started,
                .used = v->used,
                .n_lost = v->n_lost,
                .mark = v->mark,
                .slate = &s->slate,
                .rules = { .mode = (RecorderMode)fixed->recorder_mode,
                           .omit_input = fixed->omit_input,
                           .omit_output = fixed->omit_output,
                           .session_bytes_max = fixed->session_bytes_max,
                           .user_day_bytes_max = fixed->user_day_bytes_max },
        };
        session_parties(s, &s->record.parties);
}

int session_slate_load(Session *s) {
        const SlatePages *p = s->slate.pages;
        const SlateHeader *h = &p->header;
        const SlateState *v = slate_now(&s->slate);

        if (p->fixed.recorder_mode > RECORDER_OFF || v->client_pid > INT32_MAX)
                return -EBADMSG;
        load_facts(s, h, &p->fixed, v);
        s->client_user = strdup(h->client_user);
        s->target_comm = strdup(h->target_comm);
        s->target_unit = h->target_unit[0] ? strdup(h->target_unit) : NULL;
        if (!s->client_user || !s->target_comm || (h->target_unit[0] && !s->target_unit) ||
            (s->facts.wants_linger && load_backlog(&s->backlog, v, p->backlog) < 0))
                return -ENOMEM;
        load_record(s, h, &p->fixed, v);
        load_flow(&s->to_agent.facts, &v->flows[SLATE_INPUT]);
        load_flow(&s->to_client.facts, &v->flows[SLATE_OUTPUT]);
        s->to_agent.facts.position = v->input_bytes;
        s->to_agent.facts.n_records = v->input_records;
        s->to_client.facts.position = v->output_bytes;
        s->to_client.facts.n_records = v->output_records;
        s->slate.collect = collect;
        s->slate.userdata = s;
        return 0;
}
