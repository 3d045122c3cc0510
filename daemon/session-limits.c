/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/session-limits.h"

#include "daemon/session.h"

/* What is left of @limit; UINT64_MAX when there is none. */
static uint64_t left(uint64_t limit, uint64_t since) {
        uint64_t passed = recorder_clock() - since;

        if (limit == 0)
                return UINT64_MAX;
        return passed < limit ? limit - passed : 0;
}

void session_limits_check(Session *s) {
        const SessionLimits *limits = s->host->limits;
        uint64_t idle = left(limits->idle_usec, s->facts.last_input), total = left(limits->max_usec, s->facts.began),
                 next = idle < total ? idle : total;

        if (total == 0)
                session_cancel(s, "its time is up");
        else if (idle == 0)
                session_cancel(s, "nothing was typed for too long");
        else if (next == UINT64_MAX)
                (void)event_del(s->limit);
        else
                (void)event_add(s->limit, &(struct timeval){ .tv_sec = (time_t)(next / 1000000U),
                                                             .tv_usec = (suseconds_t)(next % 1000000U) });
}
