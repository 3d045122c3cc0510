/* SPDX-License-Identifier: BSD-2-Clause */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/figures.h"
#include "agent/session.h"
#include "agent/wake.h"
#include "lib/console.h"

/* So many copies do not wait for more to come. */
#define COPIES_URGENT (QUEUE_COPIES_MAX / 4)

static void init_lock(Session *s) {
        pthread_condattr_t attributes;

        pthread_mutex_init(&s->lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&s->changed, &attributes);
        pthread_condattr_destroy(&attributes);
}

Session *session_new_consume(int fd, const Peer *peer, bool framed) {
        Session *s = calloc(1, sizeof(*s));

        if (s == NULL) {
                close(fd);
                return NULL;
        }
        s->n_refs = 1;
        s->fd = s->accepted_fd = fd;
        s->given_fd = -1;
        s->epoll_fd = -1;
        s->waker_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        s->owner = getpid();
        s->peer = *peer;
        s->framed = framed;
        s->queue.framed = framed;
        init_lock(s);
        return s;
}

Session *session_ref(Session *s) {
        atomic_fetch_add(&s->n_refs, 1);
        return s;
}

Session *session_unref(Session *s) {
        if (s == NULL || atomic_fetch_sub(&s->n_refs, 1) > 1)
                return NULL;
        if (s->fd >= 0)
                close(s->fd);
        if (s->given_fd >= 0)
                close(s->given_fd);
        if (s->waker_fd >= 0)
                close(s->waker_fd);
        inbox_done(&s->inbox);
        queue_clear(&s->queue);
        free(s->source);
        free(s->payload);
        free(s->question.payload);
        pthread_cond_destroy(&s->changed);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return NULL;
}

void session_fork_child(Session *s) {
        init_lock(s);
        s->fd = s->waker_fd = -1;
        s->sending = s->polling = false;
        s->lost = true;
        /* Another thread may have been at it: what it holds is lost. */
        s->inbox = (Inbox){};
}

void session_watch(Session *s) {
        struct epoll_event event = { .data.ptr = s };

        if (s->fd < 0 || s->epoll_fd < 0)
                return;
        if (s->blocked)
                event.events |= EPOLLOUT;
        if (!s->saw_end && !s->ending && s->verdict == SESSION_ADMITTED &&
            s->reader != SESSION_READER_CONSOLE)
                event.events |= EPOLLIN;
        if (event.events == s->events)
                return;
        s->events = event.events;
        (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, s->fd, &event);
}

void session_notify(Session *s) {
        pthread_cond_broadcast(&s->changed);
        if (s->polling)
                (void)!write(s->waker_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

void session_wait_until(Session *s, int64_t ns) {
        pthread_cond_timedwait(&s->changed, &s->lock,
                               &(struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 });
}

short session_poll(Session *s, short events, int msec) {
        struct pollfd fds[] = { { .fd = s->fd, .events = events }, { .fd = s->waker_fd, .events = POLLIN } };
        int n;

        assert(s->waker_fd >= 0 && !s->polling);
        s->polling = true;
        pthread_mutex_unlock(&s->lock);
        n = poll(fds, 2, msec);
        pthread_mutex_lock(&s->lock);
        s->polling = false;
        if (n > 0 && fds[1].revents != 0)
                (void)!read(s->waker_fd, &(uint64_t){ 0 }, sizeof(uint64_t));
        return n > 0 ? fds[0].revents : 0;
}

static int offer(Session *s, uint32_t type, uint32_t id, const void *data, size_t n) {
        if (s->lost)
                return SESSION_E_LOST;
        if (!queue_fits(&s->queue, n))
                return SESSION_E_FULL;
        /* Without memory the output is lost, as to a client that is gone. */
        return queue_push(&s->queue, type, id, data, n) < 0 ? SESSION_E_LOST : 0;
}

int session_offer(Session *s, uint32_t type, const void *data, size_t n, size_t *ret_queued) {
        int r;

        pthread_mutex_lock(&s->lock);
        r = offer(s, type, s->run_id, data, n);
        *ret_queued = s->queue.n_bytes;
        pthread_mutex_unlock(&s->lock);
        return r;
}

void session_judge(Session *s, bool allowed) {
        pthread_mutex_lock(&s->lock);
        s->verdict = allowed ? SESSION_PASSED : SESSION_REFUSED;
        pthread_mutex_unlock(&s->lock);
        wake_ring();
}

/* Under the lock. */
static int duplicate_fd(Session *s) {
        int fd = s->fd < 0 ? -1 : fcntl(s->fd, F_DUPFD_CLOEXEC, 3);

        return fd >= 0 ? fd : s->fd < 0 ? -ENOTCONN : -errno;
}

int session_duplicate_fd(Session *s) {
        int fd;

        pthread_mutex_lock(&s->lock);
        fd = duplicate_fd(s);
        pthread_mutex_unlock(&s->lock);
        return fd;
}

int session_give(Session *s) {
        int fd;

        pthread_mutex_lock(&s->lock);
        fd = duplicate_fd(s);
        if (fd >= 0)
                s->given_fd = fd;
        pthread_mutex_unlock(&s->lock);
        s->given_away = fd >= 0;
        return fd < 0 ? fd : 0;
}

int session_take(Session *s) {
        int fd;

        pthread_mutex_lock(&s->lock);
        fd = s->given_fd;
        s->given_fd = -1;
        pthread_mutex_unlock(&s->lock);
        return fd;
}

int session_answer(Session *s, uint32_t id, const void *data, size_t n) {
        int r;

        pthread_mutex_lock(&s->lock);
        r = offer(s, CONSOLE_ANSWER, id, data, n);
        pthread_mutex_unlock(&s->lock);
        return r;
}

int session_offer_end(Session *s, const void *data, size_t n) {
        int r = 0;

        pthread_mutex_lock(&s->lock);
        if (s->framed)
                r = offer(s, CONSOLE_END, s->run_id, data, n);
        if (r != SESSION_E_FULL) {
                s->run = SESSION_RUNS_NOTHING;
                s->copies_stdout = s->copies_stderr = false;
                s->interrupted = false;
                inbox_clear(&s->inbox);
                /* A framed client may ask for more, unless it has shut its side down. */
                s->ending |= !s->framed || s->inbox.closed;
        }
        pthread_mutex_unlock(&s->lock);
        return r;
}

void session_receive_copies(Session *s, bool of_stdout, bool of_stderr) {
        pthread_mutex_lock(&s->lock);
        s->copies_stdout = of_stdout;
        s->copies_stderr = of_stderr;
        pthread_mutex_unlock(&s->lock);
}

/* Under the lock. False: dropped and counted. */
static bool push_copy(Session *s, uint32_t type, const void *data, size_t n) {
        bool fits = queue_push_copy(&s->queue, type, s->run_id, data, n);

        if (!fits)
                figures_add(FIGURE_DROPPED, (long long)n);
        return fits;
}

SessionUrgency session_copy(Session *s, const void *data, size_t n, bool is_stderr) {
        SessionUrgency urgency = SESSION_NOTHING;

        pthread_mutex_lock(&s->lock);
        if (!s->lost && (is_stderr ? s->copies_stderr : s->copies_stdout) &&
            push_copy(s, CONSOLE_OUTPUT, data, n) && !s->blocked)
                urgency = s->queue.n_charged_copies > COPIES_URGENT ? SESSION_NOW : SESSION_SOON;
        pthread_mutex_unlock(&s->lock);
        return urgency;
}

void session_offer_aside(Session *s, uint32_t run_id, uint32_t type, const void *data, size_t n) {
        pthread_mutex_lock(&s->lock);
        if (!s->lost && s->run != SESSION_RUNS_NOTHING && s->run_id == run_id)
                (void)push_copy(s, type, data, n);
        pthread_mutex_unlock(&s->lock);
        wake_ring();
}

bool session_stalled(Session *s, SessionStall *stall) {
        int64_t now = clock_now_ns();
        int n_unread = 0;

        /* What the peer has not read yet: it shrinks long before the socket polls writable. */
        if (s->fd >= 0)
                (void)ioctl(s->fd, SIOCOUTQ, &n_unread);
        if (stall->since_ns == 0 || stall->n_sent != s->n_sent || stall->n_unread != n_unread) {
                *stall = (SessionStall){ .since_ns = now, .n_sent = s->n_sent, .n_unread = n_unread };
                return false;
        }
        return now - stall->since_ns >= SESSION_STALL_SEC * INT64_C(1000000000);
}
