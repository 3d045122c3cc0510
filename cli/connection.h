/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A connection to manholed: one call at a time, answered once. The functions say on stderr what
 * went wrong and return an ExitStatus.
 */

#include <jansson.h>
#include <stdint.h>

#include "lib/varlink.h"

typedef struct Connection {
        int fd; /* owned, non-blocking */
        VarlinkReader reader;
        const char *about; /* borrowed: what messages begin with; may be NULL */
} Connection;

#define CONNECTION_INIT ((Connection){ .fd = -1 })

/* Where manholed listens when nobody says otherwise: the machine's, or the user's own. The result
 * is the caller's. */
char *connection_default_control(void);

int connection_open(Connection *c, const char *control);
void connection_done(Connection *c);

/* Calls a method of org.manholed.Broker. Takes over @parameters. On EXIT_DONE the caller owns a
 * reference to *ret, an object. */
int connection_call(Connection *c, const char *method, json_t *parameters, uint64_t deadline, json_t **ret);

/* The two halves of it: the descriptor can be polled meanwhile. A failed connection, as opposed to an
 * answer that is an error, is closed. */
int connection_send(Connection *c, const char *method, json_t *parameters, uint64_t deadline);
int connection_receive(Connection *c, uint64_t deadline, json_t **ret);

/* Sends a call with "more"; connection_receive() gives one answer after the other. */
int connection_send_more(Connection *c, const char *method, json_t *parameters, uint64_t deadline);

/* The same with "upgrade": afterwards the descriptor and what the reader holds are raw bytes. */
int connection_upgrade(Connection *c, const char *method, json_t *parameters, uint64_t deadline,
                       json_t **ret);
