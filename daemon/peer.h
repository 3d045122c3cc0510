/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Who is at the other end of a control connection, as the kernel says (SO_PEERCRED, SO_PEERGROUPS,
 * unix(7)): as they were when the client connected. What the client says of itself counts for nothing.
 *
 * And, for the record, where it comes from: what /proc says of the process that connected, if it still
 * is there.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "daemon/procfs.h"
#include "lib/record.h"

#ifndef SO_PEERPIDFD /* Linux 6.5 */
#define SO_PEERPIDFD 77
#endif

typedef struct Peer {
        pid_t pid;
        uid_t uid;
        gid_t gid;
        ProcAudit audit;
        char tty[PROC_TTY_MAX]; /* empty: none, or not known */
        char comm[17 * 4];      /* escaped */
} Peer;

int peer_read(int fd, Peer *ret);

/* A pidfd of the process that made the connection @fd, whose credentials have @pid; the caller owns it.
 * Negative errno when it has ended. */
int peer_pidfd(int fd, pid_t pid);

/* A view of @peer for the record. */
RecordOrigin peer_origin(const Peer *peer);

/* Who asks a second time, or somebody else. @user and @origin are borrowed. */
RecordActor peer_actor(const Peer *peer, const char *user, const RecordOrigin *origin);

/*
 * Which of the groups that are @wanted the peer is in, by its gid or a supplementary group; each once.
 * The others are not kept: there may be 65,536 of them, and a user may have as many as they like
 * (user_namespaces(7)). *ret_groups is the caller's; NULL when there are none. 0 or negative errno.
 */
int peer_read_groups(int fd, gid_t gid, bool (*wanted)(gid_t group, const void *userdata),
                     const void *userdata, gid_t **ret_groups, size_t *ret_n);
