/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <time.h>

#include "agent/turn.h"

/* Takes the flag if it is set. Under the lock. */
static int take_interrupt(Session *s) {
        if (!s->interrupted)
                return 0;
        s->interrupted = false;
        return SESSION_E_INTERRUPTED;
}

/* Whoever looks whether code takes notice sees it. Under the lock. */
static void next_turn(Session *s) {
        s->turn++;
        if (s->errand)
                pthread_cond_broadcast(&s->changed);
}

void turn_begin_wait(Session *s) {
        pthread_mutex_lock(&s->lock);
        s->waiting = true;
        next_turn(s);
        pthread_mutex_unlock(&s->lock);
}

int turn_end_wait(Session *s) {
        int r;

        pthread_mutex_lock(&s->lock);
        s->waiting = false;
        r = take_interrupt(s);
        pthread_mutex_unlock(&s->lock);
        return r;
}

int turn_wait_flag(Session *s, const bool *flag) {
        int r = 0;

        pthread_mutex_lock(&s->lock);
        while (!*flag && !s->lost && (r = take_interrupt(s)) == 0)
                pthread_cond_wait(&s->changed, &s->lock);
        if (*flag)
                r = 0;
        else if (s->lost)
                r = SESSION_E_LOST;
        pthread_mutex_unlock(&s->lock);
        return r;
}

void turn_raise_flag(Session *s, bool *flag) {
        pthread_mutex_lock(&s->lock);
        *flag = true;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
}

int turn_begin_code(Session *s) {
        int r;

        pthread_mutex_lock(&s->lock);
        r = take_interrupt(s);
        s->running = r == 0;
        next_turn(s);
        pthread_mutex_unlock(&s->lock);
        return r;
}

int turn_resume_code(Session *s) {
        int r;

        pthread_mutex_lock(&s->lock);
        r = s->lost ? SESSION_E_LOST : 0;
        s->running = r == 0;
        next_turn(s);
        pthread_mutex_unlock(&s->lock);
        return r;
}

void turn_end_code(Session *s) {
        pthread_mutex_lock(&s->lock);
        s->running = false;
        next_turn(s);
        pthread_mutex_unlock(&s->lock);
}

bool turn_take_interrupt(Session *s, unsigned long *ret_thread_id, uint64_t *ret_turn) {
        bool taken;

        pthread_mutex_lock(&s->lock);
        taken = s->interrupted && s->running && !s->waiting;
        s->errand = taken;
        if (taken) {
                s->interrupted = false;
                *ret_thread_id = s->thread_id;
                *ret_turn = s->turn;
        }
        pthread_mutex_unlock(&s->lock);
        return taken;
}

int turn_wait_notice(Session *s, uint64_t turn, int64_t until_ns) {
        struct timespec until = { .tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000 };
        int r = 0;

        pthread_mutex_lock(&s->lock);
        while (s->turn == turn && !s->interrupted && r == 0)
                r = -pthread_cond_timedwait(&s->changed, &s->lock, &until);
        /* Asked again, perhaps for code that has begun meanwhile: no other errand is sent for it. */
        if (s->interrupted && s->running && !s->waiting)
                r = SESSION_E_INTERRUPTED;
        else if (s->turn != turn)
                r = 0;
        s->errand = r != 0;
        pthread_mutex_unlock(&s->lock);
        return r;
}

bool turn_take_over(Session *s, uint64_t turn, unsigned long thread_id) {
        bool taken;

        pthread_mutex_lock(&s->lock);
        s->errand = false;
        taken = s->turn == turn && !s->stays;
        if (taken) {
                s->running = false;
                s->turn++;
                s->interrupted = false;
                s->thread_id = thread_id;
        }
        pthread_mutex_unlock(&s->lock);
        return taken;
}

void turn_errand_failed(Session *s) {
        pthread_mutex_lock(&s->lock);
        s->errand = false;
        pthread_mutex_unlock(&s->lock);
}

/* Under the lock. */
static bool interrupt(Session *s) {
        bool send;

        inbox_clear(&s->inbox);
        if (s->run == SESSION_RUNS_NOTHING)
                return false;
        s->interrupted = true;
        session_notify(s);
        send = s->running && !s->errand;
        s->errand |= send;
        return send;
}

bool turn_interrupt(Session *s) {
        bool send;

        pthread_mutex_lock(&s->lock);
        send = interrupt(s);
        pthread_mutex_unlock(&s->lock);
        return send;
}

bool turn_lose(Session *s) {
        bool send;

        pthread_mutex_lock(&s->lock);
        send = interrupt(s);
        s->lost = true;
        if (!s->sending)
                queue_clear(&s->queue); /* else who sends does it */
        session_notify(s);
        pthread_mutex_unlock(&s->lock);
        return send;
}
