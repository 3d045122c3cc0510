/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Code on its way through a target: sent as one request, its output printed as it comes (or kept
 * for a report), until it ends or its time is over.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/channel.h"
#include "cli/output.h"

/* Output kept for a report; more is a failure. */
#define EXECUTION_KEPT_MAX (64U * 1024U * 1024U)

typedef struct Execution {
        Channel *channel; /* borrowed */
        bool printing;    /* else output is kept */
        Printer out, err;
        Buffer kept_out, kept_err;
        json_t *end; /* owned: what the target said at the end */
        bool ended, failed;
        unsigned n_interrupts;
        char failure[256];
} Execution;

void execution_init(Execution *e, Channel *channel, bool printing);
void execution_done(Execution *e);

/* Returns an ExitStatus, and has said why. */
int execution_run(Execution *e, pid_t pid, const char *code, size_t n, uint64_t deadline);

/* {result, status, exception, output, error}: a new reference. */
json_t *execution_report(const Execution *e);
