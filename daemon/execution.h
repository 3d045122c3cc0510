/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Code that a client has run by one call: takes the client's place in a framed session of its own, sends
 * the code, and makes answers of the frames that come back. To the session it is a client as others are:
 * what goes in and comes out is recorded, may be watched, and can be ended.
 *
 * Reads no more while the client has not read what there is.
 */

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "lib/frame.h"

typedef struct Client Client;
typedef struct Execution Execution;
typedef struct Session Session;

/* Bytes of the stream that may still become a character. */
typedef struct ExecutionStream {
        char cut[4];
        size_t n_cut;
} ExecutionStream;

struct Execution {
        TAILQ_ENTRY(Execution) link; /* its owner's, when it has ended */
        Client *client;              /* borrowed; NULL when it is over */
        int fd;                      /* owned: the session's client, as the session sees it */
        struct event *readable;      /* owned */
        FrameScanner scanner;
        char *payload; /* owned: of a frame that is needed whole */
        size_t n_payload;
        ExecutionStream out, err;
        void (*ended)(Execution *e, void *userdata);
        void *userdata;
};

/* Begins with a session that is ready. The first answer has been given; the client may not have ended.
 * 0 or negative errno, and then the session goes on without a client, for the caller to end. */
int execution_new(Client *client, Session *session, const char *code,
                  void (*ended)(Execution *e, void *userdata), void *userdata, Execution **ret);
void execution_free(Execution *e);

/* The client is gone, or has its last answer: so is the session's client. The owner frees it later. */
void execution_end(Execution *e);

/* The client has read all. */
void execution_resume(Execution *e);
