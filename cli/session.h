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
} Session;

#define SESSION_INIT ((Session){ .channel = CHANNEL_INIT })

/* @reason may be NULL. */
int session_open(Session *s, const char *control, const char *target, const char *reason, uint64_t deadline);

/* Without manholed and without a record: @target is a PID or the path of a socket. Refuses a
 * socket that is not the process's own. */
int session_open_direct(Session *s, const char *target, uint64_t deadline);

void session_done(Session *s);
