/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* The process behind a console: whether it still runs, asked when its console is lost, and what is in it. */

#include <stdbool.h>
#include <sys/types.h>

/* A pidfd, the caller's; -1 when the process cannot be seen from here. */
int process_open(pid_t pid);

/* True if the process has ended, or does within a moment: its sockets close before it is gone. */
bool process_ended(int pidfd);

/* True if it can be seen that manholed's agent is not in it: another manhole would open a console for
 * whoever connects. */
bool process_lacks_agent(pid_t pid);
