/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/settings.h"

static Options settings = { .redirect_stderr = true };

Options settings_replace(const Options *o) {
        Options old = settings;

        settings = *o;
        return old;
}

const Options *settings_get(void) {
        return &settings;
}
