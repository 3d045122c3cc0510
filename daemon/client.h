/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * One connection on the control socket: Varlink messages in and out, one call at a time. What a
 * method does is the broker's business (broker.c); this file knows only messages.
 *
 * When a call has been upgraded the descriptor goes to a session and the client ends.
 */

#include <event2/buffer.h>
#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/hangup.h"
#include "daemon/peer.h"
#include "daemon/quota.h"
#include "daemon/tally.h"
#include "lib/varlink.h"

typedef struct Client Client;
typedef struct Execution Execution;
typedef struct Question Question;
typedef struct Session Session;
typedef struct Watcher Watcher;

typedef struct ClientHost {
        struct event_base *loop;
        Hangups *hangups;
        Quota *unread; /* bytes of answers that each user has not read yet */
        Tally *tally;
        /* A call has come; answer it now or later with client_reply() or client_error(). */
        void (*call)(Client *client, const VarlinkCall *call, void *userdata);
        /* All that was said has been read, while a call that has more than one answer is served. */
        void (*drained)(Client *client, void *userdata);
        /* The connection is over; the owner frees the client later, from the loop. */
        void (*ended)(Client *client, void *userdata);
        void *userdata;
} ClientHost;

struct Client {
        TAILQ_ENTRY(Client) link; /* its owner's */
        const ClientHost *host;   /* borrowed */
        int fd;                   /* owned */
        Peer peer;
        VarlinkReader reader;
        struct evbuffer *out; /* owned */
        unsigned n_unread;    /* bytes in it that are charged to the peer */
        struct event *readable, *writable, *next; /* owned; next: the reader may hold one more call */
        json_t *message;     /* owned: the call being served; NULL between calls */
        VarlinkCall call;    /* views of message */
        bool hungry;         /* the reader holds no whole message */
        bool eof;            /* no more will come; what has come is still answered */
        bool closing, ended; /* closing: ends when all is written */
        bool uncharged; /* of the owner: one too many, refused, and not counted */
        Hangup gone; /* while a call is served, and nothing read */
        /* Of the broker, while a call waits. */
        TAILQ_ENTRY(Client) turn;
        bool waiting;       /* for its turn */
        bool looked;        /* what the call is about has been looked at */
        bool by_name;       /* which was one target */
        uint64_t came_at;   /* CLOCK_BOOTTIME, µs */
        uint64_t n_looks;   /* looks at everything that had begun by then */
        Session *session;   /* borrowed; that an Attach waits for */
        Question *question; /* borrowed; whose answer the call waits for */
        Watcher *watcher;   /* borrowed; of a Watch */
        Execution *execution; /* borrowed; of an Exec */
        /* Of access: the peer's groups that rules name, as of the policy of that number. */
        gid_t *groups; /* owned */
        size_t n_groups;
        bool groups_unknown; /* could not be read */
        uint64_t groups_policy;
};

/* Takes the descriptor over, in any case. 0 or negative errno. */
int client_new_consume(const ClientHost *host, int fd, const Peer *peer, Client **ret);
void client_free(Client *c);

/* Answers the call being served; takes the reference to @parameters (may be NULL) over. */
void client_reply(Client *c, json_t *parameters);
/* @reason is for a person and goes out as the error's only parameter, named @key. */
void client_error(Client *c, const char *error, const char *key, const char *reason);
void client_error_object(Client *c, const char *error, json_t *parameters);

/* One answer of several: the call goes on until the client ends. Takes the reference to @parameters over.
 * The client may have ended afterwards. */
void client_continue(Client *c, json_t *parameters);
/* Bytes of answers that it has not read yet. */
size_t client_unread(const Client *c);

/* The call asks for more than one answer. Otherwise it has been answered with an error. */
bool client_may_continue(Client *c);

/* Says an error nobody asked for and closes when it is written. */
void client_refuse(Client *c, const char *error, const char *reason);

/* The call asks for an upgrade, and for an answer before it. Otherwise it has been answered with an
 * error. */
bool client_may_upgrade(Client *c);

/*
 * Answers, and gives the descriptor away (the caller owns it) with what was read behind the call.
 * The reply is written before; if that would block, nothing is given and the client ends: -EPIPE.
 * @ret_rest is valid until the client is freed.
 */
int client_upgrade(Client *c, json_t *parameters, int *ret_fd, const char **ret_rest, size_t *ret_n_rest);

/* The same, but the reply goes to @reply, for who has the descriptor to write. 0 or -ENOMEM. */
int client_hand_over(Client *c, json_t *parameters, struct evbuffer *reply, int *ret_fd, const char **ret_rest,
                     size_t *ret_n_rest);

void client_end(Client *c);
