/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * One console session through the broker: who, whom, the record, and two flows.
 *
 * A session begins when the policy has said yes. It learns the users' names, has its start recorded,
 * connects to the target, makes sure that the target is who it should be, finds out what face it
 * shows, and is then ready for the client's descriptor. Whatever fails on the way ends it with an
 * error for the client, and with an `end` record if it had a `start`.
 *
 * The owner gives it memory's end: `ended` is called once, from the loop, and the owner frees the
 * session later, not inside that call.
 */

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <time.h>

#include "daemon/backlog.h"
#include "daemon/command.h"
#include "daemon/dial.h"
#include "daemon/flow.h"
#include "daemon/hangup.h"
#include "daemon/mirror.h"
#include "daemon/names.h"
#include "daemon/peer.h"
#include "daemon/priv.h"
#include "daemon/recorder.h"
#include "daemon/session-limits.h"
#include "daemon/slate.h"
#include "daemon/store.h"
#include "daemon/target.h"

typedef struct Session Session;

/* What sessions use of the daemon; all borrowed. */
typedef struct SessionHost {
        struct event_base *loop;
        Priv *priv;
        Names *names;
        Recorder *recorder;
        Hangups *hangups;
        Store *store;
        const SessionLimits *limits;
        void (*ended)(Session *session, void *userdata);
        /* It has no client for now. */
        void (*detached)(Session *session, void *userdata);
        /* A console has been opened in it, or it ends that had one. Must not end any session. */
        void (*joined)(Session *session, void *userdata);
        void (*left)(Session *session, void *userdata);
        void *userdata;
} SessionHost;

typedef enum SessionState {
        SESSION_NAMING,     /* the client's name and command line are being looked up */
        SESSION_RECORDING,  /* the start record is under way */
        SESSION_CONNECTING, /* to the target, until it has shown its face */
        SESSION_READY,      /* waits for session_relay() */
        SESSION_RELAYING,
        SESSION_SUSPENDED, /* the next manholed goes on with it */
        SESSION_ENDED,
} SessionState;

typedef struct SessionClient {
        /* The session is ready: reply, then hand the descriptor over with session_relay(). */
        void (*ready)(Session *session, void *userdata);
        /* It cannot be. `ended` of the host follows. */
        void (*failed)(Session *session, const char *error, const char *reason, void *userdata);
        void *userdata;
} SessionClient;

/* Plain values: what can be written down of a session, and does not depend on who holds it. With its
 * names, the FlowFacts of its flows, and its record's sequence and start, it is all there is to one that
 * relays; what it keeps for showing (backlog.h) is a convenience. Its slate has it all (session-slate.h):
 * what is added here and is to outlive the process is added there. */
typedef struct SessionFacts {
        char id[RECORD_SESSION_ID_MAX];
        Peer peer;
        pid_t target_pid;
        uint64_t target_start; /* with its start time the target is told from another of that pid */
        ProcStatus ids; /* of the target, when the policy said yes */
        bool wants_frames, wants_linger, framed;
        bool console_open; /* one has been opened, and has not ended */
        uint32_t console_id;
        bool joined;                /* a person is there: it has a console, as opposed to answers alone */
        time_t since;               /* CLOCK_REALTIME: when the session was asked for */
        uint64_t began, last_input; /* recorder_clock(); when the client last sent something */
        uint64_t linger_until;      /* the same; 0: it has a client */
} SessionFacts;

struct Session {
        TAILQ_ENTRY(Session) link; /* its owner's */
        const SessionHost *host;
        SessionClient client;
        SessionState state;
        SessionFacts facts;
        Slate slate;         /* once relaying */
        bool stored, client_stored; /* session-slate.h */
        bool charged;        /* of the owner: counts against the peer's quota */
        Target *target;      /* borrowed; NULL when it is gone */
        int client_fd;       /* owned, once relaying; -1 while it lingers */
        int agent_fd;        /* owned, once connected */
        char *client_user, *target_comm, *target_unit, *reason; /* owned: the record borrows them */
        RecordOrigin origin; /* a view of peer and command, for the start record */
        NameWait name_wait;
        Command command;
        Dial dial;
        struct event *timer; /* owned: patience of the current state */
        struct event *limit; /* owned: session-limits.h */
        Hangup client_gone;
        RecorderSession record;
        Flow to_agent, to_client;
        Backlog backlog; /* kept for who takes the session up again, if it may linger */
        Mirrors mirrors; /* borrowed: who watches */
        unsigned n_mirrors;
};

/* What the client asks for. */
typedef struct SessionWishes {
        int client_fd; /* the connection that asks; borrowed for the call */
        bool frames, linger;
        const char *reason; /* its own, for the record; may be NULL */
} SessionWishes;

/* Begins, when the policy has said yes to the target as it is now. 0 or negative errno. */
int session_new(const SessionHost *host, Target *target, const Peer *peer, SessionWishes wishes,
                SessionClient client, Session **ret);
void session_free(Session *s);

/* One of which nothing is known yet (session-restore.h); NULL when there is no memory. */
Session *session_alloc(const SessionHost *host);

/* Who and whom, for its record. */
void session_parties(const Session *s, RecordParties *ret);

/* From SESSION_READY: takes the client's descriptor over, in any case, with what is to be written to it
 * first (may be NULL), and what was read from it already. */
void session_relay_consume(Session *s, int client_fd, struct evbuffer *reply, const void *rest, size_t n_rest);

/* Ends it; @why stands in the record. Does nothing to a session that has ended. */
void session_end(Session *s, const char *why);

/* The same, and the client is told why. At any time. */
void session_cancel(Session *s, const char *why);

/* Leaves it to the next manholed. False: that cannot be, and it has to be ended. */
bool session_suspend(Session *s);

/* The target's file or process is gone; what still comes over the connection goes through. */
void session_target_gone(Session *s);
