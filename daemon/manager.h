/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The daemon as a whole: owns the loop and every collection, and frees what has ended when the
 * loop turns, so that nothing is freed inside its own callback.
 */

#include <event2/event.h>
#include <sys/queue.h>

#include "daemon/client.h"
#include "daemon/config.h"
#include "daemon/execution.h"
#include "daemon/hangup.h"
#include "daemon/inspector.h"
#include "daemon/listener.h"
#include "daemon/mirror.h"
#include "daemon/names.h"
#include "daemon/policy.h"
#include "daemon/priv.h"
#include "daemon/question.h"
#include "daemon/quota.h"
#include "daemon/recorder.h"
#include "daemon/registry.h"
#include "daemon/resolver.h"
#include "daemon/scanner.h"
#include "daemon/session.h"
#include "daemon/tally.h"
#include "daemon/turns.h"
#include "daemon/watcher.h"

typedef struct Manager Manager;

typedef TAILQ_HEAD(Clients, Client) Clients;
typedef TAILQ_HEAD(Sessions, Session) Sessions;
typedef TAILQ_HEAD(Questions, Question) Questions;
typedef TAILQ_HEAD(Executions, Execution) Executions;

struct Manager {
        struct event_base *loop;
        Store store; /* what was passed to this process, and what it leaves for the next */
        Priv *priv;
        Names *names;
        Recorder *recorder;
        Hangups *hangups;
        Registry registry;
        Policy policy;
        uint64_t n_policies; /* policies so far, this one included */
        Resolver *resolver;
        Config next;       /* while the names in its policy are being resolved */
        bool reload_again; /* asked for meanwhile */
        bool reload_failed; /* the last time */
        Inspector inspector;
        Scanner *scanner;
        Listener *listener;
        Quota connections; /* of each uid: clients, and the sessions they became */
        Quota sessions_of; /* of each uid: open sessions */
        Quota unread;      /* bytes of answers that wait to be read */
        ClientHost client_host;
        SessionHost session_host;
        MirrorHost mirror_host;
        Clients clients, ended_clients;
        Sessions sessions, ended_sessions;
        Mirrors mirrors, ended_mirrors;
        QuestionHost question_host;
        Questions questions, ended_questions;
        Executions ended_executions; /* the others are their clients' */
        Tally tally;
        time_t since; /* CLOCK_REALTIME: when it started */
        Watchers watchers;
        Quota watchers_of; /* of each uid */
        SessionLimits session_limits;
        bool require_reason;
        struct event *reap;    /* frees what has ended */
        Turns turns;           /* calls that wait for a look at the targets */
        uint64_t n_looks;      /* looks at everything that have begun */
        Turns answers;         /* calls whose answer has come, and is still to be read */
        struct event *turn;    /* serves the next of both */
        struct event *sigterm, *sigint, *sighup, *sigusr1, *watchdog;
        /* Reads the configuration again (SIGHUP): 0, or negative errno when it is bad, which has been
         * logged and leaves everything as it was. */
        int (*reload)(Config *ret);
        bool stopping;         /* asked to, as opposed to broken */
        bool suspending;       /* and sessions go on with the next manholed */
};

/* Everything but listening. Configuration is borrowed for the call, but its policy is taken over. 0 or
 * negative errno; what is wrong has been logged. */
int manager_new(Config *config, int (*reload)(Config *ret), Manager **ret);
void manager_free(Manager *m);

/* It is over: frees it later. @userdata is the manager. */
void manager_on_execution_ended(Execution *e, void *userdata);

/* Somebody waits for a turn, or has had it. */
void manager_next_turn(Manager *m);

/* Listens, says it is ready, and serves until told to stop. @control may be NULL if a socket was
 * passed (sd_listen_fds(3)). */
int manager_run(Manager *m, const char *control);
