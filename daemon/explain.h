/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* What a policy would decide about a user and a process, for an administrator who is about to put it in
 * force. Asks the name service and /proc in place: never in the daemon that serves. */

#include <stdio.h>

#include "daemon/policy.h"

/* A question is USER:PID, the user by name or number. */
typedef struct ExplainQuestion {
        char user[256];
        pid_t pid;
} ExplainQuestion;

int explain_parse(const char *text, ExplainQuestion *ret); /* 0 or -EINVAL */

/* Prints what is allowed in each mode, and why. 0, or negative errno when user or process cannot be found,
 * which has been logged. */
int explain(const Policy *policy, const ExplainQuestion *question, FILE *out);
