/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What needs privilege, as an interface without it. Three ways behind one face, chosen once:
 *  - asked of manholed-priv, which systemd runs (this process was started without capabilities);
 *  - asked of a manholed-priv that this process starts before it drops its own capabilities;
 *  - done in place, by an ordinary user for the user's own processes.
 *
 * Every call is asynchronous and answered exactly once from the event loop, never from inside the
 * call that makes it, unless it is cancelled first.
 */

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "daemon/priv-protocol.h"

typedef struct Priv Priv;
typedef struct PrivCall PrivCall;

/* @error is 0 or negative errno (daemon/priv-ops.h says which); @fd, where the operation has one,
 * is the callee's to own, else -1. The call may be used again at once. */
typedef void (*PrivDone)(PrivCall *call, int error, int fd, void *userdata);

/* Embedded in whoever waits. Zeroed memory is an idle call. */
struct PrivCall {
        TAILQ_ENTRY(PrivCall) link;
        Priv *priv; /* borrowed; NULL when idle */
        PrivRequest request;
        int fds[PRIV_FDS_MAX]; /* owned duplicates until sent */
        unsigned n_fds;
        bool sent;
        PrivDone done;
        void *userdata;
};

/* Chooses and prepares the way, and drops every capability. 0 or negative errno. Must run before
 * any other thread exists. */
int priv_new(struct event_base *loop, Priv **ret);
void priv_free(Priv *priv);

/* The descriptors are borrowed for the time of the call. 0, or negative errno when nothing was
 * begun. @call must be idle. */
int priv_probe(Priv *priv, PrivCall *call, int socket_fd, PrivDone done, void *userdata);
int priv_connect(Priv *priv, PrivCall *call, int socket_fd, uid_t uid, bool framed, PrivDone done,
                 void *userdata);
/* @pid and @start_time: of the process the file is named after; 0: as the name says; -1: there is none. */
int priv_stale(Priv *priv, PrivCall *call, int folder_fd, int socket_fd, const char *name, pid_t pid,
               uint64_t start_time, bool remove, PrivDone done, void *userdata);
int priv_open_maps(Priv *priv, PrivCall *call, pid_t pid, uint64_t start_time, PrivDone done, void *userdata);
int priv_open_executable(Priv *priv, PrivCall *call, pid_t pid, uint64_t start_time, PrivDone done,
                         void *userdata);

int priv_list_processes(Priv *priv, PrivCall *call, pid_t after, PrivDone done, void *userdata);
int priv_open_tmp(Priv *priv, PrivCall *call, pid_t pid, uint64_t start_time, PrivDone done, void *userdata);

/* Goes before all that still waits: somebody waits for it. */
void priv_call_hasten(PrivCall *call);

/* The answer, if it still comes, is dropped. Idle calls are left alone. */
void priv_call_cancel(PrivCall *call);
