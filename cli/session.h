/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A session: a channel to a target's console that was asked of manholed, or of the target itself.
 * The functions say on stderr what went wrong and return an ExitStatus.
 */

#include <jansson.h>
#include <stdint.h>

#include "cli/channel.h"

typedef struct Session {
        Channel channel;
        json_t *target;  /* owned; NULL when manholed was not asked */
        char *id;        /* owned; under which it is recorded; NULL as above */
        char *recording; /* owned; NULL as above */
        json_t *others;  /* owned: who else is there; NULL as above */
        pid_t pid;
        uint32_t request; /* of a console that is open already, in frames; 0: none is */
        uint64_t missed;  /* bytes that were too many to be shown now */
} Session;

#define SESSION_INIT ((Session){ .channel = CHANNEL_INIT })

/* Takes up the session of this id, which has lost its client. */
int session_resume(Session *s, const char *control, const char *id, uint64_t deadline);

/* @reason may be NULL. The session may @linger when this client is lost. */
int session_open(Session *s, const char *control, const char *target, const char *reason, bool linger,
                 uint64_t deadline);

/* Without manholed and without a record: @target is a PID or the path of a socket. Refuses a
 * socket that is not the process's own. */
int session_open_direct(Session *s, const char *target, uint64_t deadline);

void session_done(Session *s);
