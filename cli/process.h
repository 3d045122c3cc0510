/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* Whether the process behind a console still runs: asked when its console is lost. */

#include <stdbool.h>
#include <sys/types.h>

/* A pidfd, the caller's; -1 when the process cannot be seen from here. */
int process_open(pid_t pid);

/* True if the process has ended, or does within a moment: its sockets close before it is gone. */
bool process_ended(int pidfd);
