/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/session-relay.h"

#include <assert.h>
#include <errno.h>

#include "daemon/session-linger.h"
#include "daemon/session-slate.h"
#include "lib/console.h"
#include "lib/container.h"
#include "lib/fd.h"

/* What a client said last still goes to the target, if the target takes it within this time. */
static const struct timeval LAST_WORDS_WITHIN = { .tv_sec = 2 };

#define CLIENT_GONE "closed by the client" /* reason of the end record */

static void session_on_client_gone(Hangup *hangup) {
        Session *s = container_of(hangup, Session, client_gone);

        if (s->to_agent.closed)
                session_end(s, CLIENT_GONE);
        else
                (void)event_add(s->timer, &LAST_WORDS_WITHIN);
}

/* The client reads no more. What it said last may not have been read yet: then its going is. */
static void session_lose_reader(Session *s) {
        if (s->to_agent.closed) {
                session_end(s, "client lost");
                return;
        }
        (void)flow_set_to(&s->to_client, s->host->loop, -1, NULL);
        (void)event_add(s->timer, &LAST_WORDS_WITHIN);
}

static void session_on_flow_end(Flow *f, FlowEnd how, void *userdata) {
        Session *s = userdata;

        switch (how) {
        case FLOW_PROTOCOL:
                session_cancel(s, f == &s->to_agent ? "protocol error of the client" : "protocol error of the target");
                break;
        case FLOW_UNRECORDED:
                session_cancel(s, s->record.refusal ?: "the recorder is lost");
                break;
        case FLOW_LOST:
                /* What a target said before it died is still read. */
                if (f == &s->to_client)
                        session_lose_reader(s);
                break;
        case FLOW_GONE:
                if (!session_linger(s))
                        flow_end(f);
                break;
        case FLOW_CLOSED:
                if (f == &s->to_client)
                        session_end(s, "closed by the target");
                else if (fd_is_hung_up(s->client_fd))
                        session_end(s, CLIENT_GONE);
                break;
        }
}

static void session_join(Session *s) {
        if (s->facts.joined)
                return;
        s->facts.joined = true;
        s->host->joined(s, s->host->userdata);
}

static void session_on_seen(Flow *f, const TapPiece *piece, void *userdata) {
        Session *s = userdata;
        TranscriptPiece shown = transcript_piece(f == &s->to_agent, piece);
        Mirror *m;

        backlog_add(&s->backlog, piece, &shown);
        if (shown.kind != TRANSCRIPT_NOTHING)
                TAILQ_FOREACH(m, &s->mirrors, in_session)
                        mirror_show(m, &shown);
        if (piece->type == CONSOLE_END && piece->id == s->facts.console_id)
                s->facts.console_open = false;
        if (f != &s->to_agent)
                return;
        s->facts.last_input = recorder_clock();
        if (piece->type == CONSOLE_OPEN && piece->begins) {
                s->facts.console_open = true;
                s->facts.console_id = piece->id;
                session_join(s);
        }
}

void session_relay_on_room(RecorderSession *record) {
        Session *s = container_of(record, Session, record);

        /* The first may end the session. */
        if (s->state == SESSION_RELAYING)
                flow_resume(&s->to_agent);
        if (s->state == SESSION_RELAYING)
                flow_resume(&s->to_client);
}

void session_relay_on_timer(Session *s) {
        if (session_lingers(s))
                session_end(s, "its client did not come back");
        else if (!session_linger(s))
                session_end(s, CLIENT_GONE);
}

int session_relay_watch_client(Session *s) {
        return hangup_watch(s->host->hangups, &s->client_gone, s->client_fd, session_on_client_gone);
}

static int session_init_flows(Session *s) {
        static const FlowHandler handler = { session_on_flow_end, session_on_seen };
        struct event_base *loop = s->host->loop;
        bool framed = s->facts.framed;

        if (flow_init(&s->to_agent, loop, s->client_fd, s->agent_fd, true, framed, &s->slate, &s->record, &handler, s) < 0 ||
            flow_init(&s->to_client, loop, s->agent_fd, s->client_fd, false, framed, &s->slate, &s->record, &handler, s) < 0)
                return -ENOMEM;
        s->to_agent.holds = s->facts.wants_linger;
        return 0;
}

static void session_start_flows(Session *s) {
        flow_start(&s->to_agent);
        if (s->state == SESSION_RELAYING)
                flow_start(&s->to_client);
        if (s->state == SESSION_RELAYING)
                session_limits_check(s);
}

void session_relay_consume(Session *s, int client_fd, struct evbuffer *reply, const void *rest, size_t n_rest) {
        assert(s->state == SESSION_READY);

        s->client_fd = client_fd;
        s->state = SESSION_RELAYING;
        s->facts.last_input = recorder_clock();
        if (session_slate_begin(s) < 0 || session_init_flows(s) < 0 ||
            flow_set_to(&s->to_client, s->host->loop, client_fd, reply) < 0 || flow_push(&s->to_agent, rest, n_rest) < 0 ||
            session_relay_watch_client(s) < 0) {
                session_end(s, "out of memory");
                return;
        }
        if (!s->facts.framed) {
                s->facts.console_open = true;
                session_join(s);
        }
        session_slate_store(s);
        session_start_flows(s);
}

int session_relay_restore(Session *s) {
        FlowFacts to_agent = s->to_agent.facts, to_client = s->to_client.facts;
        int r = session_init_flows(s);

        if (r < 0)
                return r;
        to_agent.tap = (Tap){ s->facts.framed, true, to_agent.tap.scanner };
        to_client.tap = (Tap){ s->facts.framed, false, to_client.tap.scanner };
        s->to_agent.facts = to_agent;
        s->to_client.facts = to_client;
        s->record.room = session_relay_on_room;
        s->state = SESSION_RELAYING;
        return 0;
}

void session_relay_go_on(Session *s) {
        if (session_lingers(s) && s->facts.linger_until > 0)
                session_linger_wait(s);
        else if (session_lingers(s) && !session_linger(s)) {
                session_end(s, CLIENT_GONE);
                return;
        } else if (!session_lingers(s) && session_relay_watch_client(s) < 0) {
                session_end(s, "out of memory");
                return;
        }
        session_start_flows(s);
}
