/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The agent's listening socket and its file. No Python API; any thread, one at a time.
 *
 * The file has mode 0600 from the moment it exists, or none where root alone gets in: manholed then
 * knows that it must come as root. It is removed only by the process that made
 * it, and only while it is still the one that was made. What stands in the way is replaced only if
 * it is a dead socket of our own user.
 */

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>

typedef struct Endpoint {
        int fd;     /* owned; -1 when closed */
        pid_t pid;  /* of the process that made the file */
        char *path; /* owned; absolute, so that a later chdir() does not matter */
        dev_t dev;
        ino_t ino;
} Endpoint;

#define ENDPOINT_INIT ((Endpoint){ .fd = -1 })

/* Creates, binds and listens. 0 or negative errno; on failure nothing is left behind. */
int endpoint_open(Endpoint *e, const char *path, bool root_only);

/* Removes the file if it is ours, and closes. */
void endpoint_close(Endpoint *e);

/* Closes, but leaves the file to the process that made it. Child after fork. */
void endpoint_abandon(Endpoint *e);
