/* SPDX-License-Identifier: BSD-2-Clause */
#include <Python.h>

#include <stdlib.h>
#include <string.h>

#include "agent/clock.h"
#include "agent/complete.h"
#include "agent/figures.h"
#include "agent/gil.h"
#include "agent/health.h"
#include "agent/jsonbuf.h"
#include "agent/output.h"
#include "agent/question.h"
#include "agent/taskanswer.h"
#include "agent/thread.h"
#include "agent/vitals.h"
#include "agent/wake.h"
#include "lib/console.h"
#include "lib/frame.h"

/* As long as that for the GIL, and from then on for the answer. */
#define GIL_MSEC 300
#define ANSWER_MSEC 5000

/*
 * Writes the answer, a JSON object that fits in a frame; nothing: it could not be made. The payload is
 * terminated. GIL held; leaves no exception.
 */
typedef void (*QuestionMake)(Session *s, const char *payload, size_t n_payload, JsonBuffer *ret);

static const struct {
        uint32_t type;
        QuestionMake make;
        void (*without)(JsonBuffer *ret); /* what can be said without the GIL; or NULL */
} makers[] = {
        { CONSOLE_COMPLETE, complete_answer, NULL },
        { CONSOLE_TASKS, taskanswer_make, NULL },
        { CONSOLE_HEALTH, vitals_answer, health_without_gil },
};
#define N_MAKERS (sizeof(makers) / sizeof(makers[0]))

/* N_MAKERS: nobody. */
static size_t find_maker(uint32_t type) {
        size_t i = 0;

        while (i < N_MAKERS && makers[i].type != type)
                i++;
        return i;
}

static void set_due(Question *q, int msec) {
        q->due_ns = clock_now_ns() + msec * INT64_C(1000000);
}

/* Under the lock. 0, or SESSION_E_*. */
static int push(Session *s, const char *json, size_t n) {
        if (s->lost)
                return SESSION_E_LOST;
        if (!queue_fits(&s->queue, n))
                return SESSION_E_FULL;
        return queue_push(&s->queue, CONSOLE_ANSWER, s->question.id, json, n) < 0 ? SESSION_E_LOST : 0;
}

/* Takes over what is to be answered, if it still is. GIL held. */
static bool claim(Session *s, char **ret_payload, size_t *ret_n, uint32_t *ret_type) {
        Question *q = &s->question;
        bool claimed;

        pthread_mutex_lock(&s->lock);
        claimed = q->state == QUESTION_WAITS && !s->lost;
        if (claimed) {
                q->state = QUESTION_BEGUN;
                set_due(q, ANSWER_MSEC);
                *ret_payload = q->payload;
                *ret_n = q->n_payload;
                *ret_type = q->type;
                q->payload = NULL;
        }
        pthread_mutex_unlock(&s->lock);
        if (claimed)
                wake_ring();
        return claimed;
}

/* Nobody has told the client anything meanwhile. */
static bool still_wanted(Session *s) {
        bool wanted;

        pthread_mutex_lock(&s->lock);
        wanted = s->question.state == QUESTION_BEGUN;
        s->question.state = wanted ? QUESTION_ANSWERED : QUESTION_NONE;
        pthread_mutex_unlock(&s->lock);
        return wanted;
}

/* Queues the answer and ends the question in one step: whoever has the answer may ask again. */
static void send_answer(Session *s, const char *json, size_t n) {
        int r;

        do {
                pthread_mutex_lock(&s->lock);
                r = push(s, json, n);
                if (r != SESSION_E_FULL)
                        s->question.state = QUESTION_NONE;
                pthread_mutex_unlock(&s->lock);
                if (r == SESSION_E_FULL)
                        output_wait_room(s, n, false);
        } while (r == SESSION_E_FULL);
        wake_ring();
}

/* No question waits: then the next one gets a thread of its own. */
static bool retire(Session *s) {
        bool waits;

        pthread_mutex_lock(&s->lock);
        waits = s->question.asker = s->question.state == QUESTION_WAITS && !s->lost;
        pthread_mutex_unlock(&s->lock);
        return !waits;
}

static void leave(Session *s) {
        pthread_mutex_lock(&s->lock);
        s->question.asker = false;
        pthread_mutex_unlock(&s->lock);
}

static void *question_main(void *arg) {
        static const char failed[] = "{\"error\":\"failed\",\"message\":\"no answer could be made\"}";
        Session *s = arg;
        PyThreadState *state;

        thread_set_name("Manhole asks");
        for (;;) {
                JsonBuffer b = JSON_BUFFER_INIT;
                char *payload = NULL;
                size_t n_payload = 0;
                uint32_t type = 0;
                bool claimed;

                /* At the end of the interpreter the client is told when its time is up. */
                if (!gil_take(&state)) {
                        leave(s);
                        break;
                }
                claimed = claim(s, &payload, &n_payload, &type);
                if (claimed)
                        makers[find_maker(type)].make(s, payload != NULL ? payload : "", n_payload, &b);
                gil_give(state);
                if (claimed && still_wanted(s)) {
                        bool fits = b.data != NULL && b.n_data <= FRAME_PAYLOAD_MAX;

                        send_answer(s, fits ? b.data : failed, fits ? b.n_data : sizeof(failed) - 1);
                }
                jsonbuf_done(&b);
                free(payload);
                if (retire(s))
                        break;
        }
        figures_add(FIGURE_ASKERS, -1);
        session_unref(s);
        return NULL;
}

int question_begin(Session *s, uint32_t type, uint32_t id) {
        Question *q = &s->question;
        char *payload;
        bool busy, start, crowd = figures_get(FIGURE_ASKERS) >= FIGURE_ASKERS_MAX;
        int r;

        if (find_maker(type) == N_MAKERS)
                return QUESTION_E_UNKNOWN;
        payload = realloc(s->payload, s->n_payload + 1);
        if (payload == NULL)
                return -ENOMEM;
        payload[s->n_payload] = '\0';
        s->payload = (uint8_t *)payload;

        pthread_mutex_lock(&s->lock);
        busy = q->state != QUESTION_NONE;
        start = !busy && !q->asker && !crowd;
        if (!busy) {
                free(q->payload);
                *q = (Question){
                        .state = QUESTION_WAITS,
                        .begun_ns = clock_now_ns(),
                        .type = type,
                        .id = id,
                        .payload = payload,
                        .n_payload = s->n_payload,
                        .asker = q->asker || start,
                };
                set_due(q, q->asker ? GIL_MSEC : 0);
                s->payload = NULL;
        }
        pthread_mutex_unlock(&s->lock);
        if (busy)
                return QUESTION_E_BUSY;
        if (!start)
                return 0;

        session_ref(s);
        figures_add(FIGURE_ASKERS, 1);
        r = thread_start(question_main, s, 0);
        if (r < 0) {
                figures_add(FIGURE_ASKERS, -1);
                pthread_mutex_lock(&s->lock);
                q->state = QUESTION_NONE;
                q->asker = false;
                pthread_mutex_unlock(&s->lock);
                session_unref(s);
        }
        return r;
}

/* What the client is told when it is due: nothing was heard of the GIL, or of the answer. The caller
 * frees @ret. */
static void say_overdue(uint32_t type, QuestionState state, JsonBuffer *ret) {
        static const char no_gil[] =
                "{\"error\":\"busy-interpreter\",\"message\":\"the GIL was not to be had\"}";
        static const char late[] = "{\"error\":\"timed-out\",\"message\":\"the answer takes too long\"}";
        size_t i = find_maker(type);

        if (state == QUESTION_BEGUN)
                jsonbuf_raw(ret, late);
        else if (makers[i].without != NULL)
                makers[i].without(ret);
        else
                jsonbuf_raw(ret, no_gil);
}

/* Tells the client. Says after how many milliseconds to try again, -1: not at all. */
static int serve_overdue(Session *s, uint32_t type, QuestionState state) {
        JsonBuffer b = JSON_BUFFER_INIT;
        Question *q = &s->question;
        int msec = -1;

        say_overdue(type, state, &b);
        pthread_mutex_lock(&s->lock);
        if (q->state == state && !s->lost) { /* not answered just now */
                if (b.failed || push(s, b.data, b.n_data) == SESSION_E_FULL)
                        msec = GIL_MSEC;
                else {
                        q->state = state == QUESTION_WAITS ? QUESTION_NONE : QUESTION_OVERDUE;
                        wake_ring();
                }
        }
        pthread_mutex_unlock(&s->lock);
        jsonbuf_done(&b);
        return msec;
}

int question_serve(Session *s) {
        QuestionState state;
        uint32_t type;
        int64_t left;

        pthread_mutex_lock(&s->lock);
        state = s->lost ? QUESTION_NONE : s->question.state;
        type = s->question.type;
        left = s->question.due_ns - clock_now_ns();
        pthread_mutex_unlock(&s->lock);

        if (state != QUESTION_WAITS && state != QUESTION_BEGUN)
                return -1;
        return left > 0 ? (int)((left + 999999) / 1000000) : serve_overdue(s, type, state);
}
