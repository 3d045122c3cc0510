/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/overdue.h"

#include <stdlib.h>
#include <string.h>

#include "agent/clock.h"
#include "agent/jsonbuf.h"
#include "agent/output.h"
#include "agent/stuck.h"
#include "agent/thread.h"
#include "agent/wake.h"
#include "lib/console.h"
#include "lib/frame.h"

#define OVERDUE_MSEC 300
#define STACK_SIZE (256U * 1024U)

/* Of JSON text; together with the rest well below FRAME_PAYLOAD_MAX. */
#define TEXT_MAX (640U * 1024U)
#define TASKS_MAX (320U * 1024U)
#define TASK_MAX 1024U
_Static_assert(TEXT_MAX + TASKS_MAX + 2 * TASK_MAX < FRAME_PAYLOAD_MAX, "an answer must fit in a frame");

typedef struct Job {
        Session *session; /* referenced */
        Wish *wish;       /* of the session */
} Job;

void overdue_begin(Wish *w, bool always, bool at_once) {
        w->state = WISH_WAITS;
        w->always = always;
        w->begun_ns = clock_now_ns();
        w->due_ns = w->begun_ns + (at_once ? 0 : OVERDUE_MSEC * INT64_C(1000000));
}

static void end_wish(Session *s, Wish *w) {
        pthread_mutex_lock(&s->lock);
        w->state = WISH_NONE;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
}

/* Queues the answer and ends the wish in one step: whoever has the answer may ask again. */
static int offer_answer(Session *s, const char *data, size_t n) {
        int r = 0;

        pthread_mutex_lock(&s->lock);
        if (!s->lost && !queue_fits(&s->queue, n))
                r = SESSION_E_FULL;
        else if (s->lost || queue_push(&s->queue, CONSOLE_ANSWER, s->asked.id, data, n) < 0)
                r = SESSION_E_LOST;
        if (r != SESSION_E_FULL)
                s->asked.state = WISH_NONE;
        pthread_mutex_unlock(&s->lock);
        wake_ring();
        return r;
}

/* Queues a piece of a console's stacks, waiting for room as long as the client takes anything. An
 * interrupt ends that: who presses Ctrl-C has seen enough. */
static bool send_piece(Session *s, const char *data, size_t n) {
        for (;;) {
                int r = output_offer(s, CONSOLE_OUTPUT, data, n);
                bool interrupted;

                if (r != SESSION_E_FULL)
                        return r == 0;
                output_wait_room(s, n, true);
                pthread_mutex_lock(&s->lock);
                interrupted = s->interrupted;
                pthread_mutex_unlock(&s->lock);
                if (interrupted)
                        return false;
        }
}

static void add_text(JsonBuffer *b, const char *name, const char *text) {
        jsonbuf_raw(b, name);
        if (text[0] != '\0')
                (void)jsonbuf_string(b, text, strlen(text), 256);
        else
                jsonbuf_raw(b, "null");
}

static const char *const gil_words[] = {
        [TASK_GIL_UNKNOWN] = "",
        [TASK_HAS_GIL] = "has",
        [TASK_WAITS_FOR_GIL] = "waits",
};

static void add_task(JsonBuffer *b, const Task *t) {
        jsonbuf_raw(b, "{\"native_id\":");
        jsonbuf_integer(b, t->id);
        jsonbuf_raw(b, ",\"id\":");
        if (t->thread_id != 0)
                jsonbuf_integer(b, (long long)t->thread_id);
        else
                jsonbuf_raw(b, "null");
        add_text(b, ",\"name\":", t->name);
        add_text(b, ",\"state\":", (char[]){ t->state, '\0' });
        add_text(b, ",\"syscall\":", t->syscall);
        add_text(b, ",\"wchan\":", t->wchan);
        add_text(b, ",\"gil\":", gil_words[t->gil]);
        jsonbuf_raw(b, "}");
}

void overdue_answer(Session *s, bool gil, const char *text, size_t n_text, const Task *tasks,
                    size_t n_tasks) {
        JsonBuffer b = JSON_BUFFER_INIT;
        bool truncated;
        size_t begin, i;

        jsonbuf_raw(&b, gil ? "{\"gil\":true,\"text\":" : "{\"gil\":false,\"text\":");
        truncated = !jsonbuf_string(&b, text, n_text, TEXT_MAX);
        jsonbuf_raw(&b, ",\"threads\":[");
        begin = b.n_data;
        for (i = 0; i < n_tasks && b.n_data - begin < TASKS_MAX; i++) {
                if (i > 0)
                        jsonbuf_raw(&b, ",");
                add_task(&b, &tasks[i]);
        }
        truncated |= i < n_tasks;
        jsonbuf_raw(&b, truncated ? "],\"truncated\":true}" : "]}");
        if (b.failed)
                end_wish(s, &s->asked);
        else
                while (offer_answer(s, b.data, b.n_data) == SESSION_E_FULL)
                        output_wait_room(s, b.n_data, false);
        jsonbuf_done(&b);
}

/* Whole lines, so that copies of the application's output come between them only. */
static void send_text(Session *s, const char *text, size_t n) {
        while (n > 0) {
                size_t length = n;

                if (length > SESSION_PIECE_MAX) {
                        const char *newline = memrchr(text, '\n', SESSION_PIECE_MAX);

                        length = newline != NULL ? (size_t)(newline + 1 - text) : SESSION_PIECE_MAX;
                }
                if (!send_piece(s, text, length))
                        return;
                text += length;
                n -= length;
        }
}

static void *job_main(void *arg) {
        Job job = *(Job *)arg;
        Session *s = job.session;
        static const char failed[] = "(no memory for the stacks)\n";
        Stuck stuck = STUCK_INIT;
        int r;

        free(arg);
        thread_set_name("Manhole stacks");
        r = stuck_take(job.wish->always, job.wish->begun_ns, &stuck);
        if (job.wish == &s->asked)
                overdue_answer(s, false, r == 0 ? stuck.text : failed,
                               r == 0 ? stuck.n_text : sizeof(failed) - 1, stuck.tasks, stuck.n_tasks);
        else {
                send_text(s, r == 0 ? stuck.text : failed, r == 0 ? stuck.n_text : sizeof(failed) - 1);
                end_wish(s, job.wish);
        }
        stuck_done(&stuck);
        session_unref(s);
        return NULL;
}

/* Without memory or threads the wish waits on, for the GIL or for better days. */
static void start_job(Session *s, Wish *w) {
        Job *job = malloc(sizeof(*job));

        if (job != NULL) {
                *job = (Job){ .session = session_ref(s), .wish = w };
                if (thread_start(job_main, job, STACK_SIZE) == 0)
                        return;
                session_unref(s);
                free(job);
        }
        pthread_mutex_lock(&s->lock);
        overdue_begin(w, w->always, false);
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
}

static int serve(Session *s, Wish *w) {
        bool overdue = false;
        int msec = -1;

        pthread_mutex_lock(&s->lock);
        if (w->state == WISH_WAITS && !s->lost) {
                int64_t left = w->due_ns - clock_now_ns();

                overdue = left <= 0;
                if (overdue)
                        w->state = WISH_COMING;
                else
                        msec = (int)((left + 999999) / 1000000);
        }
        pthread_mutex_unlock(&s->lock);
        if (overdue) {
                start_job(s, w);
                pthread_mutex_lock(&s->lock);
                if (w->state == WISH_WAITS)
                        msec = OVERDUE_MSEC;
                pthread_mutex_unlock(&s->lock);
        }
        return msec;
}

int overdue_serve(Session *s) {
        int one = serve(s, &s->opened), two = serve(s, &s->asked);

        return one < 0 || (two >= 0 && two < one) ? two : one;
}

bool overdue_waits(Session *s, const Wish *w) {
        bool waits;

        pthread_mutex_lock(&s->lock);
        waits = w->state == WISH_WAITS && !s->lost;
        pthread_mutex_unlock(&s->lock);
        return waits;
}

bool overdue_claim(Session *s, Wish *w) {
        bool claimed;

        pthread_mutex_lock(&s->lock);
        claimed = w->state == WISH_WAITS;
        if (claimed)
                w->state = w == &s->asked ? WISH_COMING : WISH_NONE;
        pthread_mutex_unlock(&s->lock);
        return claimed;
}

bool overdue_coming(Session *s, const Wish *w) {
        bool coming;

        pthread_mutex_lock(&s->lock);
        coming = w->state == WISH_COMING;
        pthread_mutex_unlock(&s->lock);
        return coming;
}

void overdue_wait(Session *s, const Wish *w) {
        pthread_mutex_lock(&s->lock);
        while (w->state == WISH_COMING)
                pthread_cond_wait(&s->changed, &s->lock);
        pthread_mutex_unlock(&s->lock);
}
