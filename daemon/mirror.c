/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/mirror.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/notice.h"
#include "daemon/session.h"
#include "lib/cleanup.h"
#include "lib/console.h"
#include "lib/container.h"
#include "lib/frame.h"

/* What waits to be read; beyond it pieces are left out until half of it is free again. */
#define WAITING_MAX (64U * 1024U)
/* When the session has ended. */
static const struct timeval REST_WITHIN = { .tv_sec = 5 };

static const uint32_t types[] = {
        [TRANSCRIPT_OUTPUT] = CONSOLE_OUTPUT, [TRANSCRIPT_STDERR] = CONSOLE_STDERR,
        [TRANSCRIPT_PROMPT] = CONSOLE_PROMPT, [TRANSCRIPT_TYPED] = CONSOLE_TYPED,
};

static void mirror_put(Mirror *m, uint32_t type, const void *data, size_t n) {
        uint8_t header[FRAME_HEADER_SIZE];

        if (m->framed) {
                frame_header_encode(&(FrameHeader){ .length = (uint32_t)n, .type = type }, header);
                (void)evbuffer_add(m->out, header, sizeof(header));
        }
        (void)evbuffer_add(m->out, data, n);
        (void)event_add(m->writable, NULL);
}

static void mirror_tell_dropped(Mirror *m) {
        char text[64];
        int n = snprintf(text, sizeof(text), m->framed ? "{\"bytes\":%" PRIu64 "}" :
                         "\n[manholed: %" PRIu64 " bytes are left out here]\n", m->n_dropped);

        if (m->n_dropped == 0)
                return;
        m->dropped_all += m->n_dropped;
        m->n_dropped = 0;
        mirror_put(m, CONSOLE_DROPPED, text, (size_t)n);
}

void mirror_show(Mirror *m, const TranscriptPiece *piece) {
        size_t waiting = evbuffer_get_length(m->out);

        if (m->dropping && waiting <= WAITING_MAX / 2)
                m->dropping = false;
        else if (waiting + piece->n_data > WAITING_MAX)
                m->dropping = true;
        if (m->dropping) {
                m->n_dropped += piece->n_data;
                return;
        }
        mirror_tell_dropped(m);
        mirror_put(m, types[piece->kind], piece->data, piece->n_data);
}

/* While the session's record can still say so. */
static void mirror_leave(Mirror *m) {
        RecordActor actor = peer_actor(&m->peer, m->user, NULL);
        Session *s = m->session;

        if (!s)
                return;
        recorder_keep(&s->record, (Record){ .event = RECORD_UNWATCH, .actor = &actor,
                                            .missed = m->dropped_all + m->n_dropped });
        TAILQ_REMOVE(&s->mirrors, m, in_session);
        s->n_mirrors--;
        m->session = NULL;
        notice_send(s, NOTICE_UNWATCHED, "%s (uid %u) no longer watches", m->user, (unsigned)m->peer.uid);
}

void mirror_end(Mirror *m) {
        if (m->ended)
                return;
        m->ended = true;
        mirror_leave(m);
        hangup_cancel(&m->gone);
        if (m->writable)
                (void)event_del(m->writable);
        (void)event_del(m->timer);
        m->host->ended(m, m->host->userdata);
}

static void mirror_on_writable(evutil_socket_t fd, short what, void *userdata) {
        Mirror *m = userdata;

        while (evbuffer_get_length(m->out) > 0)
                if (evbuffer_write(m->out, fd) < 0) {
                        if (errno == EAGAIN || errno == EINTR)
                                return;
                        mirror_end(m);
                        return;
                }
        (void)event_del(m->writable);
        if (!m->session)
                mirror_end(m);
}

void mirror_session_ended(Mirror *m, const char *why) {
        char text[FLOW_INSERT_MAX];

        mirror_tell_dropped(m);
        mirror_leave(m);
        if (m->framed) {
                if (notice_encode(NOTICE_END, why, text, sizeof(text)) < 0)
                        text[0] = '\0';
        } else
                (void)snprintf(text, sizeof(text), "\n[manholed: the session has ended: %s]\n", why);
        mirror_put(m, CONSOLE_NOTICE, text, strlen(text));
        (void)event_add(m->timer, &REST_WITHIN);
        /* At once, if it can be: the daemon may be about to end. */
        mirror_on_writable(m->fd, EV_WRITE, m);
}

static void mirror_on_timer(evutil_socket_t fd, short what, void *userdata) {
        mirror_end(userdata);
}

static void mirror_on_gone(Hangup *hangup) {
        mirror_end(container_of(hangup, Mirror, gone));
}

int mirror_new(const MirrorHost *host, Session *session, const Peer *peer, const char *user, bool framed, Mirror **ret) {
        Mirror *m = calloc(1, sizeof(*m));
        RecordOrigin origin = peer_origin(peer);
        RecordActor actor;
        int r = -ENOMEM;

        if (!m)
                return -ENOMEM;
        *m = (Mirror){ .host = host, .peer = *peer, .user = strdup(user), .fd = -1, .framed = framed,
                       .out = evbuffer_new(), .timer = event_new(host->loop, -1, 0, mirror_on_timer, m) };
        actor = peer_actor(peer, m->user, &origin);
        if (m->user && m->out && m->timer)
                r = recorder_write(&session->record, (Record){ .event = RECORD_WATCH, .actor = &actor });
        if (r < 0) {
                mirror_free(m);
                return r;
        }
        m->session = session;
        TAILQ_INSERT_TAIL(&session->mirrors, m, in_session);
        session->n_mirrors++;
        notice_send(session, NOTICE_WATCHED, "%s (uid %u) watches this session", user, (unsigned)peer->uid);
        *ret = m;
        return 0;
}

void mirror_begin_consume(Mirror *m, int fd) {
        m->fd = fd;
        /* Nothing is read: whoever types hears that at once. */
        (void)shutdown(fd, SHUT_RD);
        m->writable = event_new(m->host->loop, fd, EV_WRITE | EV_PERSIST, mirror_on_writable, m);
        if (!m->writable || hangup_watch(m->host->hangups, &m->gone, fd, mirror_on_gone) < 0)
                mirror_end(m);
}

void mirror_free(Mirror *m) {
        if (!m)
                return;
        assert(!m->session);
        if (m->writable)
                event_free(m->writable);
        if (m->timer)
                event_free(m->timer);
        if (m->out)
                evbuffer_free(m->out);
        (void)fd_close(m->fd);
        free(m->user);
        free(m);
}
