/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The operations that may need privilege, done in place: by manholed-priv with its capabilities,
 * or by manholed itself when it runs as an ordinary user. Each one checks for itself all it relies
 * on: whoever asks may be an attacker who has taken over the parser.
 */

#include <sys/types.h>

#include "daemon/priv-protocol.h"

/* Opens /proc/PID/@name of a process, if it is that one. 0 or negative errno; *ret_fd is the caller's. */
int priv_open_of_process(pid_t pid, uint64_t start_time, const char *name, int flags, int *ret_fd);

/*
 * Runs one request. @fds are borrowed. On success of an operation that answers with a descriptor,
 * *ret_fd is the caller's; else -1. Returns 0 or negative errno, the response's `error`:
 * PROBE: 0 when something has bound the socket, -ECONNREFUSED when it is dead, -EPROTOTYPE when it
 * is no manhole (a datagram socket), else what the kernel said. UNLINK_STALE, CHECK_STALE: -EBUSY when it is
 * not surely dead, -EAGAIN when it is too young to tell, -ESTALE when the name no longer is that
 * file, -EINVAL for a name that is not a manhole's.
 */
int priv_execute(const PrivRequest *request, const int *fds, unsigned n_fds, int *ret_fd);
