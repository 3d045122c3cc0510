/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Somebody who watches a session: is shown what its user sees and types, and cannot type.
 *
 * A mirror never holds the session up: what it does not read in time is left out, and it is told how
 * much that was. What it sends is never read. It outlives the session for a moment, to be read to the
 * end.
 */

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "daemon/hangup.h"
#include "daemon/peer.h"
#include "daemon/transcript.h"

typedef struct Mirror Mirror;
typedef struct Session Session;

typedef TAILQ_HEAD(Mirrors, Mirror) Mirrors;

/* Of one session. */
#define MIRRORS_MAX 8U

/* What mirrors use of the daemon; all borrowed. */
typedef struct MirrorHost {
        struct event_base *loop;
        Hangups *hangups;
        /* Called once, from the loop; the owner frees the mirror later. */
        void (*ended)(Mirror *mirror, void *userdata);
        void *userdata;
} MirrorHost;

struct Mirror {
        TAILQ_ENTRY(Mirror) link;       /* its owner's */
        TAILQ_ENTRY(Mirror) in_session; /* while it has one */
        const MirrorHost *host;
        Session *session; /* borrowed; NULL when it has ended */
        Peer peer;
        char *user; /* owned */
        int fd;     /* owned */
        bool framed, dropping, ended;
        bool charged;                    /* of the owner: counts against the peer's quota */
        struct event *writable, *timer;  /* owned; timer: how long the rest may take */
        struct evbuffer *out;            /* owned */
        uint64_t n_dropped, dropped_all; /* bytes not yet told of; in all */
        Hangup gone;
};

/* Records that @peer watches, before it sees anything. 0, -EAGAIN or another negative errno: it must
 * not. Undone by mirror_end(). @session relays. */
int mirror_new(const MirrorHost *host, Session *session, const Peer *peer, const char *user, bool framed, Mirror **ret);
void mirror_free(Mirror *m);

/* Takes the client's descriptor over, in any case. */
void mirror_begin_consume(Mirror *m, int fd);

void mirror_show(Mirror *m, const TranscriptPiece *piece);

/* The session ends, and why: the mirror ends when that has been read. */
void mirror_session_ended(Mirror *m, const char *why);

void mirror_end(Mirror *m);
