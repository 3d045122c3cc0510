/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include "daemon/errors.h"
#include "daemon/log.h"
#include "daemon/notice.h"
#include "daemon/session-relay.h"
#include "daemon/session-slate.h"
#include "lib/cleanup.h"
#include "lib/container.h"

/* A name service may be slow, and so may the memory of a client's process; then the number has to do. */
static const struct timeval NAMES_WITHIN = { .tv_sec = 1 };

static void session_record(Session *s);

/* ------------------------------------------------------------------- end */

/* Nothing more happens to it by itself. */
static void session_still(Session *s) {
        names_wait_cancel(&s->name_wait);
        command_cancel(&s->command);
        dial_cancel(&s->dial);
        hangup_cancel(&s->client_gone);
        (void)event_del(s->timer);
        (void)event_del(s->limit);
}

/* It is over for this process. */
static void session_leave(Session *s) {
        flow_done(&s->to_agent);
        flow_done(&s->to_client);
        s->client_fd = fd_close(s->client_fd);
        s->agent_fd = fd_close(s->agent_fd);
        s->host->ended(s, s->host->userdata);
}

void session_end(Session *s, const char *why) {
        if (s->state >= SESSION_SUSPENDED)
                return;
        s->state = SESSION_ENDED;
        session_still(s);
        while (!TAILQ_EMPTY(&s->mirrors))
                mirror_session_ended(TAILQ_FIRST(&s->mirrors), why);
        if (s->target)
                s->target->n_sessions--;
        else
                s->record.parties.target_gone = true;
        recorder_end(&s->record, (Record){ .event = RECORD_END, .reason = why,
                                           .input_bytes = s->to_agent.facts.position,
                                           .output_bytes = s->to_client.facts.position,
                                           .input_records = s->to_agent.facts.n_records,
                                           .output_records = s->to_client.facts.n_records });
        session_slate_drop(s);
        if (s->facts.joined)
                s->host->left(s, s->host->userdata);
        log_info("Session %s ended: %s.", s->facts.id, why);
        session_leave(s);
}

bool session_suspend(Session *s) {
        if (s->state != SESSION_RELAYING || !s->stored || (s->client_fd >= 0 && !s->client_stored))
                return false;
        while (!TAILQ_EMPTY(&s->mirrors))
                mirror_session_ended(TAILQ_FIRST(&s->mirrors), "the broker is started anew");
        session_still(s);
        s->state = SESSION_SUSPENDED;
        if (s->backlog.text)
                (void)evbuffer_copyout(s->backlog.text, s->slate.pages->backlog, BACKLOG_MAX);
        slate_commit(&s->slate);
        recorder_suspend(&s->record);
        if (s->target)
                s->target->n_sessions--;
        session_leave(s);
        return true;
}

/* Before the client has its reply: it is told why. */
static void session_fail(Session *s, const char *error, const char *reason) {
        s->client.failed(s, error, reason, s->client.userdata);
        session_end(s, reason);
}

void session_cancel(Session *s, const char *why) {
        if (s->state < SESSION_READY) {
                session_fail(s, ERROR_NOT_AUTHORIZED, why);
                return;
        }
        notice_send(s, NOTICE_END, "%s", why);
        if (s->state == SESSION_RELAYING)
                flow_last_words(&s->to_client);
        session_end(s, why);
}

static void session_fail_target_gone(Session *s) {
        session_fail(s, ERROR_TARGET_GONE, "the process or its manhole has ended");
}

void session_target_gone(Session *s) {
        if (!s->target)
                return;
        s->target->n_sessions--;
        s->target = NULL;
        if (s->state == SESSION_CONNECTING)
                session_fail_target_gone(s);
}

/* --------------------------------------------------------- who is it, and how did it come */

static char *name_or_number(const char *name, uid_t uid) {
        char number[16];

        if (name)
                return strdup(name);
        (void)snprintf(number, sizeof(number), "%u", (unsigned)uid);
        return strdup(number);
}

static void session_named(Session *s) {
        (void)event_del(s->timer);
        names_wait_cancel(&s->name_wait);
        command_cancel(&s->command);
        s->client_user = name_or_number(names_get(s->host->names, s->facts.peer.uid), s->facts.peer.uid);
        s->origin = peer_origin(&s->facts.peer);
        s->origin.command = s->command.text;
        session_record(s);
}

static void session_on_named(NameWait *wait, void *userdata) {
        Session *s = userdata;

        if (!s->command.answer)
                session_named(s);
}

static void session_on_command(Command *command, void *userdata) {
        Session *s = userdata;

        if (!s->name_wait.names)
                session_named(s);
}

/* ---------------------------------------------------------------- record */

static void session_recorded(Session *s) {
        if (!s->target) {
                session_fail_target_gone(s);
                return;
        }
        s->state = SESSION_CONNECTING;
        dial_begin(&s->dial, s->target, &s->facts.ids, s->facts.peer.uid, s->facts.wants_frames);
}

static void session_on_recorded(RecorderSession *record, int error) {
        Session *s = container_of(record, Session, record);

        if (error < 0)
                session_fail(s, ERROR_RECORDER_UNAVAILABLE, "the journal does not keep the session's start");
        else
                session_recorded(s);
}

void session_parties(const Session *s, RecordParties *ret) {
        *ret = (RecordParties){
                .session = s->facts.id,
                .client_uid = s->facts.peer.uid,
                .client_user = s->client_user,
                .client_pid = s->facts.peer.pid,
                .client_origin = &s->origin,
                .target_pid = s->facts.target_pid,
                .target_uid = s->facts.ids.euid,
                .target_comm = s->target_comm,
                .target_unit = s->target_unit,
        };
}

static void session_record(Session *s) {
        RecordParties parties;
        int r;

        if (!s->target) {
                session_fail_target_gone(s);
                return;
        }
        s->state = SESSION_RECORDING;
        session_parties(s, &parties);
        r = recorder_begin(s->host->recorder, &s->record, &parties, s->reason, session_on_recorded,
                           session_relay_on_room);
        if (r < 0) {
                log_error("Session %s cannot be recorded: %s", s->facts.id, strerror(-r));
                session_fail(s, ERROR_RECORDER_UNAVAILABLE, r == -EDQUOT ?
                             "as much of this user is recorded today as may be" : "the session cannot be recorded");
        } else if (r == 0)
                session_recorded(s);
}

/* --------------------------------------------------------------- connect */

static void session_on_connected(Dial *d, int fd, DialFace face) {
        Session *s = container_of(d, Session, dial);

        s->agent_fd = fd;
        s->facts.framed = face == DIAL_FRAMED;
        s->state = SESSION_READY;
        s->client.ready(s, s->client.userdata);
}

static void session_on_unconnected(Dial *d, const char *error, const char *reason) {
        Session *s = container_of(d, Session, dial);

        if (strcmp(error, ERROR_TARGET_UNTRUSTED) == 0)
                recorder_keep(&s->record, (Record){ .event = RECORD_DENIED, .reason = reason, .socket = s->target->path });
        session_fail(s, error, reason);
}

static void session_on_limit(evutil_socket_t fd, short what, void *userdata) {
        session_limits_check(userdata);
}

static void session_on_timer(evutil_socket_t fd, short what, void *userdata) {
        Session *s = userdata;

        if (s->state == SESSION_NAMING)
                session_named(s);
        else if (s->state == SESSION_RELAYING)
                session_relay_on_timer(s);
}

/* ------------------------------------------------------------------ life */

static int make_id(char ret[RECORD_SESSION_ID_MAX]) {
        uint64_t random;

        if (getrandom(&random, sizeof(random), 0) != sizeof(random))
                return -EIO;
        (void)snprintf(ret, RECORD_SESSION_ID_MAX, "%016" PRIx64, random);
        return 0;
}

Session *session_alloc(const SessionHost *host) {
        Session *s = calloc(1, sizeof(*s));

        if (!s)
                return NULL;
        s->host = host;
        s->client_fd = s->agent_fd = s->dial.fd = -1;
        TAILQ_INIT(&s->mirrors);
        s->timer = event_new(host->loop, -1, 0, session_on_timer, s);
        s->limit = event_new(host->loop, -1, 0, session_on_limit, s);
        if (!s->timer || !s->limit) {
                session_free(s);
                return NULL;
        }
        return s;
}

int session_new(const SessionHost *host, Target *target, const Peer *peer, SessionWishes wishes,
                SessionClient client, Session **ret) {
        static const DialHandler dial_handler = { session_on_connected, session_on_unconnected };
        bool waits;
        Session *s = session_alloc(host);

        if (!s)
                return -ENOMEM;
        s->client = client;
        s->facts = (SessionFacts){ .peer = *peer, .wants_frames = wishes.frames, .wants_linger = wishes.linger,
                                   .since = time(NULL), .began = recorder_clock() };
        s->facts.last_input = s->facts.began;
        s->target_comm = strdup(target->comm);
        s->target_unit = target->unit ? strdup(target->unit) : NULL;
        s->reason = wishes.reason ? strdup(wishes.reason) : NULL;
        if (dial_init(&s->dial, host->loop, host->priv, &dial_handler) < 0 || !s->target_comm || (target->unit && !s->target_unit) || (wishes.reason && !s->reason) || (wishes.linger && backlog_init(&s->backlog) < 0) ||
            make_id(s->facts.id) < 0) {
                session_free(s);
                return -ENOMEM;
        }
        s->target = target;
        s->facts.target_pid = target->pid;
        s->facts.target_start = target->start_time;
        s->facts.ids = target->ids;
        target->n_sessions++;
        *ret = s;

        waits = names_wait(host->names, &s->name_wait, peer->uid, session_on_named, s);
        waits = command_ask(&s->command, host->loop, wishes.client_fd, peer->pid, session_on_command, s) || waits;
        /* The owner must have the session before it can fail. */
        (void)event_add(s->timer, waits ? &NAMES_WITHIN : &(struct timeval){});
        return 0;
}

void session_free(Session *s) {
        if (!s)
                return;
        if (s->timer)
                event_free(s->timer);
        if (s->limit)
                event_free(s->limit);
        dial_done(&s->dial);
        slate_done(&s->slate);
        backlog_done(&s->backlog);
        command_done(&s->command);
        free(s->client_user);
        free(s->target_comm);
        free(s->target_unit);
        free(s->reason);
        free(s);
}
