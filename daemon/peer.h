/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Who is at the other end of a control connection, as the kernel says (SO_PEERCRED, unix(7)): as
 * they were when the client connected. What the client says of itself counts for nothing. */

#include <sys/types.h>

typedef struct Peer {
        pid_t pid;
        uid_t uid;
        gid_t gid;
} Peer;

int peer_read(int fd, Peer *ret);
