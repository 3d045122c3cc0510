/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/session-linger.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/notice.h"
#include "daemon/session-relay.h"
#include "daemon/session-slate.h"
#include "lib/cleanup.h"
#include "lib/console.h"
#include "lib/frame.h"

bool session_lingers(const Session *s) {
        return s->state == SESSION_RELAYING && s->client_fd < 0;
}

/* Whoever comes begins with a whole frame, and with a console that waits for him. */
static bool may_linger(const Session *s) {
        return s->facts.wants_linger && s->facts.console_open && s->host->limits->linger_usec > 0 && !s->to_agent.facts.eof &&
               !s->to_client.facts.eof && flow_between_frames(&s->to_agent);
}

void session_linger_wait(Session *s) {
        uint64_t now = recorder_clock(), usec = s->facts.linger_until > now ? s->facts.linger_until - now : 0;

        (void)event_add(s->timer, &(struct timeval){ .tv_sec = (time_t)(usec / 1000000U),
                                                     .tv_usec = (suseconds_t)(usec % 1000000U) });
}

static void session_detach(Session *s) {
        struct event_base *loop = s->host->loop;
        uint64_t usec = s->host->limits->linger_usec;

        hangup_cancel(&s->client_gone);
        (void)flow_set_from(&s->to_agent, loop, -1);
        (void)flow_set_to(&s->to_client, loop, -1, NULL);
        s->client_fd = fd_close(s->client_fd);
        s->facts.linger_until = recorder_clock() + usec;
        backlog_mark(&s->backlog);
        recorder_keep(&s->record, (Record){ .event = RECORD_LINGER });
        session_slate_client_changed(s);
        session_linger_wait(s);
        log_info("Session %s has lost its client, and waits.", s->facts.id);
        s->host->detached(s, s->host->userdata);
}

bool session_linger(Session *s) {
        if (!may_linger(s))
                return false;
        session_detach(s);
        return true;
}

int session_take_over(Session *s, const Peer *peer) {
        RecordOrigin origin = peer_origin(peer);
        RecordActor actor = peer_actor(peer, s->client_user, &origin);
        int r;

        assert(s->state == SESSION_RELAYING);

        if (!session_lingers(s)) {
                if (!may_linger(s))
                        return -EBUSY;
                notice_send(s, NOTICE_END, "taken up elsewhere");
                flow_last_words(&s->to_client);
                session_detach(s);
        }
        r = recorder_write(&s->record, (Record){ .event = RECORD_RESUME, .actor = &actor,
                                                 .missed = backlog_missed(&s->backlog) });
        if (r < 0)
                return r;
        s->facts.peer = *peer;
        s->record.parties.client_pid = peer->pid;
        return 0;
}

static void put_frame(struct evbuffer *out, uint32_t type, uint32_t id, const void *data, size_t n) {
        uint8_t header[FRAME_HEADER_SIZE];

        frame_header_encode(&(FrameHeader){ .length = (uint32_t)n, .type = type, .id = id }, header);
        (void)evbuffer_add(out, header, sizeof(header));
        (void)evbuffer_add(out, data, n);
}

/* What the new client is shown first: the backlog, and the prompt that waits. */
static void put_backlog(Session *s, struct evbuffer *out) {
        Backlog *b = &s->backlog;
        size_t n = evbuffer_get_length(b->text);

        if (!s->facts.framed)
                (void)evbuffer_add(out, evbuffer_pullup(b->text, -1), n);
        else if (n > 0)
                put_frame(out, CONSOLE_OUTPUT, s->facts.console_id, evbuffer_pullup(b->text, -1), n);
        if (b->prompts)
                put_frame(out, CONSOLE_PROMPT, s->facts.console_id, b->prompt, b->n_prompt);
}

void session_resume_consume(Session *s, int client_fd, const void *rest, size_t n_rest) {
        struct event_base *loop = s->host->loop;
        struct evbuffer *first = evbuffer_new();

        assert(session_lingers(s));

        (void)event_del(s->timer);
        s->client_fd = client_fd;
        s->facts.linger_until = 0;
        session_slate_client_changed(s);
        if (first)
                put_backlog(s, first);
        if (!first || flow_set_to(&s->to_client, loop, client_fd, first) < 0 ||
            flow_set_from(&s->to_agent, loop, client_fd) < 0 || flow_push(&s->to_agent, rest, n_rest) < 0 ||
            session_relay_watch_client(s) < 0)
                session_end(s, "out of memory");
        else {
                s->facts.last_input = recorder_clock();
                log_info("Session %s is taken up again.", s->facts.id);
                flow_start(&s->to_agent);
        }
        if (first)
                evbuffer_free(first);
}
