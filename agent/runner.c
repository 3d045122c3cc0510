/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/runner.h"

static const Runner *runner;

void runner_set(const Runner *r) {
        runner = r;
}

int runner_start(Session *s) {
        return runner->start(s);
}

void runner_interrupt(Session *s) {
        runner->interrupt(s);
}
