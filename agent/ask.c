/* SPDX-License-Identifier: BSD-2-Clause */
#include <Python.h>

#include <stdlib.h>
#include <string.h>

#include "agent/ask.h"
#include "agent/figures.h"
#include "agent/gil.h"
#include "agent/overdue.h"
#include "agent/stacks.h"
#include "agent/stuck.h"
#include "agent/thread.h"

/* The stacks as UTF-8, or NULL. GIL held. */
static char *make_text(bool locals) {
        PyObject *text = stacks_format(locals), *bytes = NULL;
        char *copy = NULL;

        if (text != NULL)
                bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
        if (bytes != NULL)
                copy = strdup(PyBytes_AsString(bytes));
        PyErr_Clear();
        Py_XDECREF(bytes);
        Py_XDECREF(text);
        return copy;
}

/* Nothing waits: then the next request gets a thread of its own. */
static bool retire(Session *s) {
        bool waits;

        pthread_mutex_lock(&s->lock);
        waits = s->asker = s->asked.state == WISH_WAITS && !s->lost;
        pthread_mutex_unlock(&s->lock);
        return !waits;
}

static void answer(Session *s, char *text) {
        static const char failed[] = "(the stacks cannot be shown)\n";
        const char *shown = text != NULL ? text : failed;
        Task *tasks = NULL;
        size_t n = 0;

        if (task_list(&tasks, &n) == 0)
                stuck_identify(shown, strlen(shown), tasks, n);
        overdue_answer(s, true, shown, strlen(shown), tasks, n);
        free(tasks);
}

/* Whether stacks are still wished for, and with what. */
static bool ask_waits(Session *s, bool *ret_locals) {
        bool waits = overdue_waits(s, &s->asked);

        pthread_mutex_lock(&s->lock);
        *ret_locals = s->asked.locals;
        pthread_mutex_unlock(&s->lock);
        return waits;
}

static void *ask_main(void *arg) {
        Session *s = arg;
        PyThreadState *state;

        thread_set_name("Manhole stacks");
        /* At the end of the interpreter the answer comes without it, if the client is still there then. */
        while (gil_take(&state)) {
                bool locals;
                char *text = ask_waits(s, &locals) ? make_text(locals) : NULL;

                gil_give(state);
                if (overdue_claim(s, &s->asked))
                        answer(s, text);
                free(text);
                if (retire(s))
                        break;
        }
        figures_add(FIGURE_ASKERS, -1);
        session_unref(s);
        return NULL;
}

int ask_stacks(Session *s, uint32_t id, bool always, bool at_once, bool locals) {
        bool busy, start;
        int r;

        at_once |= figures_get(FIGURE_ASKERS) >= FIGURE_ASKERS_MAX;
        pthread_mutex_lock(&s->lock);
        busy = s->asked.state != WISH_NONE;
        start = !busy && !s->asker && !at_once;
        if (!busy) {
                overdue_begin(&s->asked, always, at_once);
                s->asked.id = id;
                s->asked.locals = locals;
                s->asker |= start;
        }
        pthread_mutex_unlock(&s->lock);
        if (busy)
                return ASK_E_BUSY;
        if (!start)
                return 0;

        session_ref(s);
        figures_add(FIGURE_ASKERS, 1);
        r = thread_start(ask_main, s, 0);
        if (r < 0) {
                figures_add(FIGURE_ASKERS, -1);
                session_unref(s);
                pthread_mutex_lock(&s->lock);
                s->asked.state = WISH_NONE;
                s->asker = false;
                pthread_mutex_unlock(&s->lock);
        }
        return r;
}
