/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/tally.h"

#include <assert.h>
#include <string.h>

#include "daemon/errors.h"

static const char *const counted[TALLY_ERRORS - 1U] = {
        ERROR_NOT_AUTHORIZED,    ERROR_TARGET_UNTRUSTED,     ERROR_NO_SUCH_TARGET, ERROR_NO_SUCH_SESSION,
        ERROR_AMBIGUOUS_TARGET,  ERROR_TARGET_GONE,          ERROR_UNSUPPORTED,    ERROR_TIMED_OUT,
        ERROR_TOO_MANY_SESSIONS, ERROR_RECORDER_UNAVAILABLE, ERROR_SESSION_ENDED,  ERROR_BAD_MESSAGE,
};

void tally_error(Tally *t, const char *error) {
        size_t i = 0;

        while (i < TALLY_ERRORS - 1U && strcmp(counted[i], error) != 0)
                i++;
        t->errors[i]++;
}

const char *tally_error_name(size_t i) {
        assert(i < TALLY_ERRORS);

        return i < TALLY_ERRORS - 1U ? strrchr(counted[i], '.') + 1 : "other";
}
