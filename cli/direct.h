/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* Targets without manholed: PIDs, and paths of sockets. session_open_direct() connects to one. */

#include <sys/types.h>

#include "cli/survey.h"

/* The PID that a PID, or the path of a socket, promises; 0 when it promises none. */
pid_t direct_pid(const char *target);

/* Adds the caller's own processes that have manholed's agent; root's own are all. */
void direct_list(Survey *s);
