/* SPDX-License-Identifier: BSD-2-Clause */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/changed.h"
#include "agent/clock.h"
#include "agent/connection.h"
#include "agent/figures.h"
#include "agent/io.h"
#include "agent/log.h"
#include "agent/overdue.h"
#include "agent/peer.h"
#include "agent/question.h"
#include "agent/reserve.h"
#include "agent/thread.h"
#include "agent/turn.h"
#include "agent/wake.h"

/* Connections at a time; a further one is closed at once. */
#define SESSIONS_MAX 128U
#define IO_STACK_SIZE (256U * 1024U)
#define EVENTS_MAX 32
/* However many come, those that are connected get their turn. */
#define ACCEPTS_PER_EVENT 16
/* Without descriptors or memory for a client, accepting pauses for so long. */
#define ACCEPT_PAUSE_MSEC 1000
/* How often a client that only has to take its last bytes is looked at. */
#define ENDING_STEP_MSEC 500
/* How long it may take to begin. */
#define BEGIN_NSEC INT64_C(1000000000)
/* How long clients may take their last bytes when it is to end. */
#define LAST_BYTES_NSEC INT64_C(500000000)

static struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;

        /* Under the lock. */
        Endpoint endpoint; /* owned */
        Service service;
        bool thread;             /* it lives */
        unsigned long thread_id; /* of it, as Python knows it; 0 while it has yet to begin */
        pid_t native_id;
        bool stopping;    /* tell and close every client */
        Session *adopted; /* referenced; the I/O thread has yet to add them */

        /* Changed by the I/O thread alone, under the lock; it reads them without. */
        int epoll_fd;      /* owned; open while the thread lives: opened by who starts it */
        Session *sessions; /* referenced */
        size_t n_sessions;

        /* Of the I/O thread alone. */
        bool accept_paused;
        int64_t stop_at_ns;
} io = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
        .endpoint = { .fd = -1 },
        .epoll_fd = -1,
};

void io_copy(const void *data, size_t n, bool is_stderr) {
        SessionUrgency most = SESSION_NOTHING;

        pthread_mutex_lock(&io.lock);
        for (Session *s = io.sessions; s != NULL; s = s->next) {
                SessionUrgency urgency = session_copy(s, data, n, is_stderr);

                if (urgency > most)
                        most = urgency;
        }
        pthread_mutex_unlock(&io.lock);
        if (most == SESSION_NOW)
                wake_ring();
        else if (most == SESSION_SOON)
                wake_ring_soon();
}

static void watch_accept(bool on) {
        struct epoll_event event = { .events = on ? EPOLLIN : 0, .data.ptr = &io.endpoint };

        pthread_mutex_lock(&io.lock);
        if (io.endpoint.fd >= 0)
                (void)epoll_ctl(io.epoll_fd, EPOLL_CTL_MOD, io.endpoint.fd, &event);
        pthread_mutex_unlock(&io.lock);
        io.accept_paused = !on;
}

/* Takes over a reference. */
static int add_session(Session *s) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = s };
        int r;

        pthread_mutex_lock(&s->lock);
        s->epoll_fd = io.epoll_fd;
        s->events = event.events;
        r = epoll_ctl(io.epoll_fd, EPOLL_CTL_ADD, s->fd, &event) < 0 ? -errno : 0;
        if (r == 0)
                session_watch(s);
        else
                s->epoll_fd = -1; /* whoever serves it outlives this thread, perhaps */
        pthread_mutex_unlock(&s->lock);
        if (r < 0) {
                log_line("Cannot watch a client: %s", strerror(-r));
                session_unref(s);
                return -1;
        }
        pthread_mutex_lock(&io.lock);
        s->next = io.sessions;
        if (s->next != NULL)
                s->next->previous = s;
        io.sessions = s;
        io.n_sessions++;
        figures_add(FIGURE_CONNECTIONS, 1);
        pthread_mutex_unlock(&io.lock);
        return 0;
}

static void add_adopted(void) {
        Session *s;

        do {
                pthread_mutex_lock(&io.lock);
                s = io.adopted;
                if (s != NULL)
                        io.adopted = s->next;
                pthread_mutex_unlock(&io.lock);
                if (s != NULL) {
                        s->next = NULL;
                        /* Whoever serves it sees a client that is gone. */
                        session_ref(s);
                        if (add_session(s) < 0)
                                (void)turn_lose(s);
                        session_unref(s);
                }
        } while (s != NULL);
}

static void remove_session(Session *s) {
        bool stopping;

        (void)epoll_ctl(io.epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);

        pthread_mutex_lock(&io.lock);
        if (s->previous != NULL)
                s->previous->next = s->next;
        else
                io.sessions = s->next;
        if (s->next != NULL)
                s->next->previous = s->previous;
        io.n_sessions--;
        figures_add(FIGURE_CONNECTIONS, -1);
        stopping = io.stopping;
        pthread_mutex_unlock(&io.lock);

        /* When the interpreter ends, it stops the threads itself. */
        connection_end(s, !stopping);
        session_unref(s);
        pthread_mutex_lock(&io.lock);
        reserve_keep();
        pthread_mutex_unlock(&io.lock);
        if (io.accept_paused)
                watch_accept(true);
}

static void accept_clients(void) {
        for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
                Service service;
                Session *s;
                int fd;

                pthread_mutex_lock(&io.lock);
                service = io.service;
                fd = io.endpoint.fd < 0 ? -EBADF : reserve_accept(io.endpoint.fd);
                pthread_mutex_unlock(&io.lock);
                if (fd < 0) {
                        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS)
                                watch_accept(false);
                        return;
                }
                s = connection_admit_consume(fd, io.n_sessions < SESSIONS_MAX, &service);
                if (s != NULL && add_session(s) == 0)
                        connection_begin(s);
        }
}

/* Everything a session needs after events or a wake-up. Returns after how many milliseconds it must be
 * looked at again without any event, -1: not at all. */
static int serve_session(Session *s) {
        bool ending;
        int msec, question_msec;

        connection_judge(s);
        if (!connection_send(s, &ending)) {
                remove_session(s);
                return -1;
        }
        pthread_mutex_lock(&s->lock);
        session_watch(s);
        pthread_mutex_unlock(&s->lock);
        msec = overdue_serve(s);
        question_msec = question_serve(s);
        if (msec < 0 || (question_msec >= 0 && question_msec < msec))
                msec = question_msec;
        return ending && (msec < 0 || msec > ENDING_STEP_MSEC) ? ENDING_STEP_MSEC : msec;
}

/* Serves every session; says how long epoll may sleep. */
static int serve_sessions(void) {
        int timeout = io.accept_paused ? ACCEPT_PAUSE_MSEC : -1;
        Session *next;

        for (Session *s = io.sessions; s != NULL; s = next) {
                int msec;

                next = s->next;
                msec = serve_session(s);
                if (msec >= 0 && (timeout < 0 || msec < timeout))
                        timeout = msec;
        }
        return timeout;
}

/* Sends every client away; after LAST_BYTES_NSEC those too that do not take their last bytes. */
static void stop_sessions(void) {
        int64_t now = clock_now_ns();
        Session *next;

        if (io.stop_at_ns == 0) {
                io.stop_at_ns = now + LAST_BYTES_NSEC;
                for (Session *s = io.sessions; s != NULL; s = s->next)
                        connection_stop(s);
        } else if (now >= io.stop_at_ns) {
                for (Session *s = io.sessions; s != NULL; s = next) {
                        next = s->next;
                        remove_session(s);
                }
        }
}

/* True when the thread has ended: then everything of it is released. */
static bool thread_is_over(bool *ret_stopping) {
        bool over;

        pthread_mutex_lock(&io.lock);
        *ret_stopping = io.stopping;
        over = io.endpoint.fd < 0 && io.sessions == NULL && io.adopted == NULL;
        if (over) {
                close(io.epoll_fd);
                wake_close();
                reserve_release();
                io.epoll_fd = -1;
                io.thread = io.stopping = false;
                io.stop_at_ns = 0;
                io.accept_paused = false;
                pthread_cond_broadcast(&io.changed);
        }
        pthread_mutex_unlock(&io.lock);
        return over;
}

static void *io_main(void *arg) {
        struct epoll_event events[EVENTS_MAX];
        int timeout = -1;
        bool stopping;

        thread_set_name("Manhole");
        /* Here, so that install() need not wait for it. */
        thread_prepare_exit();
        changed_setup();
        peer_prepare();

        pthread_mutex_lock(&io.lock);
        io.thread_id = (unsigned long)pthread_self();
        io.native_id = gettid();
        pthread_cond_broadcast(&io.changed);
        pthread_mutex_unlock(&io.lock);
        while (!thread_is_over(&stopping)) {
                int n;

                if (stopping) {
                        stop_sessions();
                        (void)serve_sessions();
                        timeout = 20;
                        if (io.sessions == NULL)
                                continue;
                }
                n = epoll_wait(io.epoll_fd, events, EVENTS_MAX, timeout);
                if (n == 0 && io.accept_paused)
                        watch_accept(true);
                for (int i = 0; i < n; i++) {
                        if (events[i].data.ptr == &io.endpoint)
                                accept_clients();
                        else if (events[i].data.ptr == NULL)
                                wake_clear();
                        else
                                connection_event(events[i].data.ptr, events[i].events);
                }
                add_adopted();
                timeout = serve_sessions();
        }
        return NULL;
}

/* Under the lock. */
static int start_thread(void) {
        int r;

        if (io.thread)
                return 0;
        io.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (io.epoll_fd < 0)
                return -errno;
        r = wake_open(io.epoll_fd);
        if (r == 0)
                r = thread_start(io_main, NULL, IO_STACK_SIZE);
        if (r < 0) {
                wake_close();
                close(io.epoll_fd);
                io.epoll_fd = -1;
                return r;
        }
        io.thread = true;
        io.thread_id = 0;
        reserve_keep();
        return 0;
}

bool io_thread(unsigned long *ret_id, pid_t *ret_native_id) {
        bool alive;

        pthread_mutex_lock(&io.lock);
        while (io.thread && io.thread_id == 0)
                (void)thread_wait(&io.changed, &io.lock, BEGIN_NSEC);
        alive = io.thread && io.endpoint.fd >= 0;
        *ret_id = io.thread_id;
        *ret_native_id = io.native_id;
        pthread_mutex_unlock(&io.lock);
        return alive;
}

bool io_listens(void) {
        bool listens;

        pthread_mutex_lock(&io.lock);
        listens = io.endpoint.fd >= 0;
        pthread_mutex_unlock(&io.lock);
        return listens;
}

bool io_waits_for_consoles(void) {
        bool waits;

        pthread_mutex_lock(&io.lock);
        waits = !io.service.daemon_connection;
        pthread_mutex_unlock(&io.lock);
        return waits;
}

int io_listen_consume(const Endpoint *endpoint, const Service *service) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &io.endpoint };
        int r;

        pthread_mutex_lock(&io.lock);
        assert(io.endpoint.fd < 0);
        io.endpoint = *endpoint;
        io.service = *service;
        r = start_thread();
        if (r == 0 && epoll_ctl(io.epoll_fd, EPOLL_CTL_ADD, endpoint->fd, &event) < 0)
                r = -errno;
        if (r < 0)
                endpoint_close(&io.endpoint);
        pthread_mutex_unlock(&io.lock);
        if (r < 0)
                wake_ring();
        return r;
}

void io_unlisten(void) {
        pthread_mutex_lock(&io.lock);
        endpoint_close(&io.endpoint);
        pthread_mutex_unlock(&io.lock);
        wake_ring();
}

int io_adopt(Session *s) {
        int r;

        pthread_mutex_lock(&io.lock);
        r = start_thread();
        if (r == 0) {
                s->next = io.adopted;
                io.adopted = session_ref(s);
        }
        pthread_mutex_unlock(&io.lock);
        wake_ring();
        return r;
}

void io_stop(int64_t until_ns) {
        pthread_mutex_lock(&io.lock);
        endpoint_close(&io.endpoint);
        io.stopping = io.thread;
        pthread_mutex_unlock(&io.lock);
        wake_ring();

        pthread_mutex_lock(&io.lock);
        while (io.thread && clock_now_ns() < until_ns)
                (void)thread_wait(&io.changed, &io.lock, until_ns - clock_now_ns());
        pthread_mutex_unlock(&io.lock);
}

void io_fork_prepare(void) {
        pthread_mutex_lock(&io.lock);
}

void io_fork_parent(void) {
        pthread_mutex_unlock(&io.lock);
}

void io_fork_child(Session *current) {
        for (Session *s = io.sessions; s != NULL; s = s->next) {
                if (s->fd >= 0)
                        close(s->fd);
                if (s->waker_fd >= 0)
                        close(s->waker_fd);
        }
        for (Session *s = io.adopted; s != NULL; s = s->next)
                if (s->fd >= 0)
                        close(s->fd);
        io.adopted = NULL;
        if (current != NULL)
                session_fork_child(current);

        endpoint_abandon(&io.endpoint);
        reserve_release();
        if (io.epoll_fd >= 0)
                close(io.epoll_fd);
        io.epoll_fd = -1;
        io.thread = io.stopping = io.accept_paused = false;
        io.stop_at_ns = 0;
        io.sessions = NULL;
        io.n_sessions = 0;
        pthread_mutex_init(&io.lock, NULL);
        pthread_cond_init(&io.changed, NULL);
}
