/* SPDX-License-Identifier: BSD-2-Clause */
#include <Python.h>

#include <errno.h>
#include <string.h>

#include "agent/activation.h"
#include "agent/console.h"
#include "agent/handover.h"
#include "agent/listener.h"
#include "agent/log.h"
#include "agent/settings.h"

/* How often the application's signal handlers get their turn while nobody comes. */
#define WAIT_STEP_MSEC 100

int activation_open(void) {
        const Options *o = settings_get();

        return listener_open(o->socket_path != NULL ? PyBytes_AsString(o->socket_path) : NULL, &o->service);
}

/* NULL: not wanted any more, or with an exception set. */
static Session *wait_session(long number, bool (*is_wanted)(long number)) {
        PyThreadState *gil;
        Session *s = NULL;

        while (s == NULL && is_wanted(number)) {
                gil = PyEval_SaveThread();
                s = handover_wait(WAIT_STEP_MSEC);
                PyEval_RestoreThread(gil);
                if (s == NULL && PyErr_CheckSignals() < 0)
                        break;
        }
        return s;
}

int activation_oneshot(long number, bool (*is_wanted)(long number)) {
        Session *s, *late;
        int opened, r = 0;

        if (!handover_begin()) {
                log_line("Oneshot failure: another one is under way.");
                return 0;
        }
        opened = activation_open();
        if (opened < 0 && opened != -EALREADY) {
                (void)handover_end();
                log_line("Oneshot failure: %s", strerror(-opened));
                return 0;
        }

        s = wait_session(number, is_wanted);
        if (s == NULL && PyErr_Occurred())
                r = -1;
        if (s != NULL)
                r = console_attend(s);
        late = handover_end();
        if (late != NULL)
                console_start_thread(late);
        if (opened == 0)
                listener_close();
        log_line("Cleaned up.");
        return r;
}
