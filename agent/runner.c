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

bool runner_has_function(void) {
        return runner->has_function();
}

bool runner_decides(void) {
        return runner->decides();
}

int runner_ask(Session *s) {
        return runner->ask(s);
}
