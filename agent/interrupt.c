/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/interrupt.h"

#include <errno.h>
#include <pthread.h>

#include "agent/clock.h"
#include "agent/consoles.h"
#include "agent/gil.h"
#include "agent/log.h"
#include "agent/turn.h"

#define GRACE_NSEC (INTERRUPT_GRACE_MSEC * CLOCK_NSEC_PER_MSEC)
/* Who waits longer than this for the GIL cannot blame another thread for not having had it. */
#define LATE_NSEC (GRACE_NSEC / 2)

typedef struct Told {
        unsigned long thread_id;
        uint64_t turn;
        int64_t until_ns; /* then it is left */
} Told;

/* False: there is nothing to interrupt, and the errand is over. */
static bool tell(Session *s, Told *told) {
        uint64_t turn;
        PyThreadState *state;
        bool taken;

        if (!gil_take(&state)) {
                turn_errand_failed(s);
                return false;
        }
        taken = turn_take_interrupt(s, &told->thread_id, &turn);
        if (taken)
                PyThreadState_SetAsyncExc(told->thread_id, PyExc_KeyboardInterrupt);
        gil_give(state);
        if (!taken)
                return false;
        /* Who asks again and again is not put off by that. */
        if (turn != told->turn)
                told->until_ns = clock_now_ns() + GRACE_NSEC;
        told->turn = turn;
        return true;
}

/* True, with the GIL: it is left. False: too late, or it is left waited for. GIL held. */
static bool leave_held(Session *s, const Told *told) {
        if (!consoles_begin_left()) {
                log_line("PID:%ld waits for code that takes no interrupt: too many threads were left already.",
                         (long)s->peer.pid);
                turn_errand_failed(s);
                return false;
        }
        if (!turn_take_over(s, told->turn, PyThread_get_thread_ident())) {
                consoles_end_left();
                return false;
        }
        /* The thread runs code, so it is there; the id is the C library's too. */
        (void)pthread_setname_np((pthread_t)told->thread_id, "Manhole left");
        log_line("Left a thread of PID:%ld to finish: it takes no interrupt.", (long)s->peer.pid);
        return true;
}

/* 0 with the GIL, -EAGAIN when that took so long that the thread may have waited for it too, or
 * -ESRCH: the errand is over. */
static int leave(Session *s, const Told *told, PyThreadState **ret) {
        int64_t begun = clock_now_ns();
        PyThreadState *state;

        if (!gil_take(&state)) {
                turn_errand_failed(s);
                return -ESRCH;
        }
        if (clock_now_ns() - begun > LATE_NSEC) {
                gil_give(state);
                return -EAGAIN;
        }
        if (!leave_held(s, told)) {
                gil_give(state);
                return -ESRCH;
        }
        *ret = state;
        return 0;
}

bool interrupt_run(Session *s, PyThreadState **ret) {
        Told told = { .turn = UINT64_MAX };
        int r = SESSION_E_INTERRUPTED;

        for (;;) {
                if (r == SESSION_E_INTERRUPTED && !tell(s, &told))
                        return false;
                r = turn_wait_notice(s, told.turn, told.until_ns);
                if (r == 0)
                        return false;
                if (r != -ETIMEDOUT)
                        continue;
                r = leave(s, &told, ret);
                if (r != -EAGAIN)
                        return r == 0;
                told.until_ns = clock_now_ns() + GRACE_NSEC;
        }
}
