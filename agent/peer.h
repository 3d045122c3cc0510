/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Who is at the other end, by the kernel's word alone. No Python API; any thread.
 */

#include <stdbool.h>
#include <sys/types.h>

typedef struct Peer {
        pid_t pid; /* 0 when it lives outside this PID namespace */
        uid_t uid;
        gid_t gid;
} Peer;

/* 0 or negative errno. */
int peer_read(int fd, Peer *ret);

/* Learns what peer_allowed() has to know of this process's user namespace: later there may be no
 * descriptor left to read it. Any thread. */
void peer_prepare(void);

/* Only our own effective uid, and root; or root alone. */
bool peer_allowed(const Peer *p, bool root_only);

/*
 * The protocol version the peer asks for by the name of its own socket (docs/CONSOLE-PROTOCOL.md),
 * or 0 when it wants plain text; and whether it says that it is the broker, whose sessions do not keep
 * the process alive.
 */
unsigned long peer_version(int fd, bool *ret_brokered);
