/* SPDX-License-Identifier: BSD-2-Clause */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/changed.h"
#include "agent/clock.h"
#include "agent/connection.h"
#include "agent/endpoint.h"
#include "agent/figures.h"
#include "agent/listener.h"
#include "agent/log.h"
#include "agent/overdue.h"
#include "agent/peer.h"
#include "agent/question.h"
#include "agent/reserve.h"
#include "agent/thread.h"
#include "agent/turn.h"
#include "agent/wake.h"

#define IO_STACK_SIZE (256U * 1024U)
#define EVENTS_MAX 32
/* However many come, those that are connected get their turn. */
#define ACCEPTS_PER_EVENT 16
/* Without descriptors or memory for a client, accepting pauses for so long. */
#define ACCEPT_PAUSE_MSEC 1000
/* How often a client that only has to take its last bytes is looked at. */
#define ENDING_STEP_MSEC 500
#define STOP_NSEC INT64_C(1000000000)
#define STOP_CONSOLES_NSEC INT64_C(200000000)

static struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        Endpoint endpoint;
        Service service;
        bool opening;          /* a thread is between bind() and telling so */
        unsigned n_changes;    /* of the endpoint: what was to be opened later, and is it still wanted? */
        bool finished;         /* the process ends: no socket any more */
        bool thread;           /* the I/O thread lives */
        unsigned long thread_id; /* of it, as Python knows it; 0 while it has yet to begin */
        pid_t native_id;
        bool stopping;         /* tell and close every client */
        int epoll_fd;          /* owned; open while the thread lives */
        Session *sessions;     /* referenced */
        Session *adopted;      /* referenced; the I/O thread has yet to add them */
        size_t n_sessions;
        size_t n_consoles, n_brokered; /* of the first, those that keep the process not alive */
        size_t n_left;

        /* Of the I/O thread alone. */
        bool accept_paused;
        int64_t stop_at_ns;
} listener = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
        .endpoint = { .fd = -1 },
        .epoll_fd = -1,
};

void listener_copy(const void *data, size_t n, bool is_stderr) {
        SessionUrgency most = SESSION_NOTHING;

        pthread_mutex_lock(&listener.lock);
        for (Session *s = listener.sessions; s != NULL; s = s->next) {
                SessionUrgency urgency = session_copy(s, data, n, is_stderr);

                if (urgency > most)
                        most = urgency;
        }
        pthread_mutex_unlock(&listener.lock);
        if (most == SESSION_NOW)
                wake_ring();
        else if (most == SESSION_SOON)
                wake_ring_soon();
}

bool listener_console_begins(const Session *s) {
        bool room;

        pthread_mutex_lock(&listener.lock);
        room = listener.n_consoles < LISTENER_CONSOLES_MAX;
        listener.n_consoles += room;
        listener.n_brokered += room && s->brokered;
        pthread_mutex_unlock(&listener.lock);
        figures_add(FIGURE_CONSOLES, room);
        return room;
}

void listener_console_ends(const Session *s) {
        pthread_mutex_lock(&listener.lock);
        assert(listener.n_consoles > 0);
        listener.n_consoles--;
        listener.n_brokered -= s->brokered;
        figures_add(FIGURE_CONSOLES, -1);
        pthread_cond_broadcast(&listener.changed);
        pthread_mutex_unlock(&listener.lock);
}

bool listener_left_begins(void) {
        bool room;

        pthread_mutex_lock(&listener.lock);
        room = listener.n_left < LISTENER_LEFT_MAX;
        listener.n_left += room;
        pthread_mutex_unlock(&listener.lock);
        return room;
}

void listener_left_ends(void) {
        pthread_mutex_lock(&listener.lock);
        assert(listener.n_left > 0);
        listener.n_left--;
        pthread_mutex_unlock(&listener.lock);
}

/* Waits up to @nsec for a change. Under the lock. False when the time is over. */
static bool wait_change(int64_t nsec) {
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        nsec += until.tv_nsec;
        until.tv_sec += nsec / 1000000000;
        until.tv_nsec = nsec % 1000000000;
        return pthread_cond_timedwait(&listener.changed, &listener.lock, &until) == 0;
}

bool listener_wait_consoles(int msec) {
        bool idle;

        pthread_mutex_lock(&listener.lock);
        if (listener.n_consoles > listener.n_brokered && !listener.service.daemon_connection)
                (void)wait_change(msec * INT64_C(1000000));
        idle = listener.n_consoles == listener.n_brokered || listener.service.daemon_connection;
        pthread_mutex_unlock(&listener.lock);
        return idle;
}

static void watch_accept(bool on) {
        struct epoll_event event = { .events = on ? EPOLLIN : 0, .data.ptr = &listener.endpoint };

        pthread_mutex_lock(&listener.lock);
        if (listener.endpoint.fd >= 0)
                (void)epoll_ctl(listener.epoll_fd, EPOLL_CTL_MOD, listener.endpoint.fd, &event);
        pthread_mutex_unlock(&listener.lock);
        listener.accept_paused = !on;
}

/* Takes over a reference. */
static int add_session(Session *s) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = s };
        int r;

        pthread_mutex_lock(&s->lock);
        s->epoll_fd = listener.epoll_fd;
        s->events = event.events;
        r = epoll_ctl(listener.epoll_fd, EPOLL_CTL_ADD, s->fd, &event) < 0 ? -errno : 0;
        session_watch(s);
        pthread_mutex_unlock(&s->lock);
        if (r < 0) {
                log_line("Cannot watch a client: %s", strerror(-r));
                session_unref(s);
                return -1;
        }
        pthread_mutex_lock(&listener.lock);
        s->next = listener.sessions;
        if (s->next != NULL)
                s->next->previous = s;
        listener.sessions = s;
        listener.n_sessions++;
        figures_add(FIGURE_CONNECTIONS, 1);
        pthread_mutex_unlock(&listener.lock);
        return 0;
}

static void add_adopted(void) {
        Session *s;

        do {
                pthread_mutex_lock(&listener.lock);
                s = listener.adopted;
                if (s != NULL)
                        listener.adopted = s->next;
                pthread_mutex_unlock(&listener.lock);
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

        (void)epoll_ctl(listener.epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);

        pthread_mutex_lock(&listener.lock);
        if (s->previous != NULL)
                s->previous->next = s->next;
        else
                listener.sessions = s->next;
        if (s->next != NULL)
                s->next->previous = s->previous;
        listener.n_sessions--;
        figures_add(FIGURE_CONNECTIONS, -1);
        stopping = listener.stopping;
        pthread_mutex_unlock(&listener.lock);

        /* When the interpreter ends, it stops the threads itself. */
        connection_end(s, !stopping);
        session_unref(s);
        pthread_mutex_lock(&listener.lock);
        reserve_keep();
        pthread_mutex_unlock(&listener.lock);
        if (listener.accept_paused)
                watch_accept(true);
}

static void accept_clients(void) {
        for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
                Service service;
                Session *s;
                int fd;

                pthread_mutex_lock(&listener.lock);
                service = listener.service;
                fd = listener.endpoint.fd < 0 ? -EBADF : reserve_accept(listener.endpoint.fd);
                pthread_mutex_unlock(&listener.lock);
                if (fd < 0) {
                        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS)
                                watch_accept(false);
                        return;
                }
                s = connection_admit_consume(fd, listener.n_sessions < LISTENER_SESSIONS_MAX, &service);
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
        int timeout = listener.accept_paused ? ACCEPT_PAUSE_MSEC : -1;
        Session *next;

        for (Session *s = listener.sessions; s != NULL; s = next) {
                int msec;

                next = s->next;
                msec = serve_session(s);
                if (msec >= 0 && (timeout < 0 || msec < timeout))
                        timeout = msec;
        }
        return timeout;
}

/* Sends every client away; after STOP_NSEC those too that do not take their last bytes. */
static void stop_sessions(void) {
        int64_t now = clock_now_ns();
        Session *next;

        if (listener.stop_at_ns == 0) {
                listener.stop_at_ns = now + STOP_NSEC / 2;
                for (Session *s = listener.sessions; s != NULL; s = s->next)
                        connection_stop(s);
        } else if (now >= listener.stop_at_ns) {
                for (Session *s = listener.sessions; s != NULL; s = next) {
                        next = s->next;
                        remove_session(s);
                }
        }
}

/* True when the thread has ended: then everything of it is released. */
static bool thread_is_over(bool *ret_stopping) {
        bool over;

        pthread_mutex_lock(&listener.lock);
        *ret_stopping = listener.stopping;
        over = listener.endpoint.fd < 0 && listener.sessions == NULL && listener.adopted == NULL;
        if (over) {
                close(listener.epoll_fd);
                wake_close();
                reserve_release();
                listener.epoll_fd = -1;
                listener.thread = listener.stopping = false;
                listener.stop_at_ns = 0;
                listener.accept_paused = false;
                pthread_cond_broadcast(&listener.changed);
        }
        pthread_mutex_unlock(&listener.lock);
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

        pthread_mutex_lock(&listener.lock);
        listener.thread_id = (unsigned long)pthread_self();
        listener.native_id = gettid();
        pthread_cond_broadcast(&listener.changed);
        pthread_mutex_unlock(&listener.lock);
        while (!thread_is_over(&stopping)) {
                int n;

                if (stopping) {
                        stop_sessions();
                        (void)serve_sessions();
                        timeout = 20;
                        if (listener.sessions == NULL)
                                continue;
                }
                n = epoll_wait(listener.epoll_fd, events, EVENTS_MAX, timeout);
                if (n == 0 && listener.accept_paused)
                        watch_accept(true);
                for (int i = 0; i < n; i++) {
                        if (events[i].data.ptr == &listener.endpoint)
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

        if (listener.thread)
                return 0;
        listener.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (listener.epoll_fd < 0)
                return -errno;
        r = wake_open(listener.epoll_fd);
        if (r == 0)
                r = thread_start(io_main, NULL, IO_STACK_SIZE);
        if (r < 0) {
                wake_close();
                close(listener.epoll_fd);
                listener.epoll_fd = -1;
                return r;
        }
        listener.thread = true;
        listener.thread_id = 0;
        reserve_keep();
        return 0;
}

bool listener_thread(unsigned long *ret_id, pid_t *ret_native_id) {
        bool alive;

        pthread_mutex_lock(&listener.lock);
        while (listener.thread && listener.thread_id == 0)
                (void)wait_change(STOP_NSEC);
        alive = listener.thread && listener.endpoint.fd >= 0;
        *ret_id = listener.thread_id;
        *ret_native_id = listener.native_id;
        pthread_mutex_unlock(&listener.lock);
        return alive;
}

/* @n_changes: gives up if the endpoint has changed since it was that. */
static int open_endpoint(const char *path, const Service *service, const unsigned *n_changes) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &listener.endpoint };
        Endpoint endpoint = ENDPOINT_INIT;
        char own_path[64];
        int r;

        if (path == NULL) {
                snprintf(own_path, sizeof(own_path), "/tmp/manhole-%ld", (long)getpid());
                path = own_path;
        }
        r = endpoint_open(&endpoint, path, service->root_only);
        if (r < 0) {
                log_line("Failed to bind %s: %s", path, strerror(-r));
                return r;
        }

        pthread_mutex_lock(&listener.lock);
        if (listener.finished || (n_changes != NULL && *n_changes != listener.n_changes)) {
                pthread_mutex_unlock(&listener.lock);
                endpoint_close(&endpoint);
                return -ECANCELED;
        }
        assert(listener.endpoint.fd < 0);
        listener.n_changes++;
        listener.endpoint = endpoint;
        listener.service = *service;
        r = start_thread();
        if (r == 0 && epoll_ctl(listener.epoll_fd, EPOLL_CTL_ADD, endpoint.fd, &event) < 0)
                r = -errno;
        if (r < 0)
                endpoint_close(&listener.endpoint);
        pthread_mutex_unlock(&listener.lock);

        if (r < 0) {
                log_line("Failed to serve %s: %s", path, strerror(-r));
                wake_ring();
                return r;
        }
        log_line("Manhole UDS path: %s", path);
        log_line("Waiting for new connection (in pid:%ld) ...", (long)getpid());
        return 0;
}

static bool is_open(void) {
        bool open;

        pthread_mutex_lock(&listener.lock);
        open = listener.endpoint.fd >= 0;
        pthread_mutex_unlock(&listener.lock);
        return open;
}

int listener_open(const char *path, const Service *service) {
        return is_open() ? -EALREADY : open_endpoint(path, service, NULL);
}

typedef struct Later {
        struct timespec at;
        unsigned n_changes;
        Service service;
} Later;

static void *later_main(void *arg) {
        Later later = *(Later *)arg;
        bool wanted;

        free(arg);
        thread_set_name("Manhole");
        /* Again after a signal: a short sleep would leave a socket to a child that is about to exec. */
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &later.at, NULL) == EINTR)
                ;

        /* listener_stop() waits for this, or the process could end with a file it does not know of. */
        pthread_mutex_lock(&listener.lock);
        wanted = !listener.finished && listener.n_changes == later.n_changes;
        listener.opening = wanted;
        pthread_mutex_unlock(&listener.lock);
        if (!wanted)
                return NULL;
        (void)open_endpoint(NULL, &later.service, &later.n_changes);
        pthread_mutex_lock(&listener.lock);
        listener.opening = false;
        pthread_cond_broadcast(&listener.changed);
        pthread_mutex_unlock(&listener.lock);
        return NULL;
}

int listener_open_later(double delay_sec, const Service *service) {
        Later *later = malloc(sizeof(*later));
        int64_t at = clock_now_ns() + (int64_t)(delay_sec * 1e9);
        int r;

        if (later == NULL)
                return -ENOMEM;
        *later = (Later){
                .at = { .tv_sec = at / 1000000000, .tv_nsec = at % 1000000000 },
                .service = *service,
        };
        pthread_mutex_lock(&listener.lock);
        later->n_changes = listener.n_changes;
        pthread_mutex_unlock(&listener.lock);
        r = thread_start(later_main, later, IO_STACK_SIZE);
        if (r < 0)
                free(later);
        return r;
}

int listener_adopt(Session *s) {
        int r = -ECANCELED;

        pthread_mutex_lock(&listener.lock);
        if (!listener.finished)
                r = start_thread();
        if (r == 0) {
                s->next = listener.adopted;
                listener.adopted = session_ref(s);
        }
        pthread_mutex_unlock(&listener.lock);
        wake_ring();
        return r;
}

void listener_close(void) {
        pthread_mutex_lock(&listener.lock);
        listener.n_changes++;
        endpoint_close(&listener.endpoint);
        pthread_mutex_unlock(&listener.lock);
        wake_ring();
}

void listener_stop(void) {
        int64_t until = clock_now_ns() + STOP_NSEC;

        pthread_mutex_lock(&listener.lock);
        listener.finished = true;
        while (listener.opening && clock_now_ns() < until)
                (void)wait_change(until - clock_now_ns());
        endpoint_close(&listener.endpoint);
        listener.stopping = listener.thread;
        pthread_mutex_unlock(&listener.lock);
        wake_ring();

        pthread_mutex_lock(&listener.lock);
        while (listener.thread && clock_now_ns() < until)
                (void)wait_change(until - clock_now_ns());
        /* They have been told; one that runs code is left to the interpreter. */
        until = clock_now_ns() + STOP_CONSOLES_NSEC;
        while (listener.n_consoles > 0 && clock_now_ns() < until)
                (void)wait_change(until - clock_now_ns());
        pthread_mutex_unlock(&listener.lock);
}

void listener_fork_prepare(void) {
        pthread_mutex_lock(&listener.lock);
}

void listener_fork_parent(void) {
        pthread_mutex_unlock(&listener.lock);
}

void listener_fork_child(Session *current) {
        for (Session *s = listener.sessions; s != NULL; s = s->next) {
                if (s->fd >= 0)
                        close(s->fd);
                if (s->waker_fd >= 0)
                        close(s->waker_fd);
        }
        for (Session *s = listener.adopted; s != NULL; s = s->next)
                if (s->fd >= 0)
                        close(s->fd);
        listener.adopted = NULL;
        if (current != NULL) {
                pthread_mutex_init(&current->lock, NULL);
                pthread_cond_init(&current->changed, NULL);
                current->fd = current->waker_fd = -1;
                current->sending = current->polling = false;
                current->lost = true;
        }

        listener.n_changes++;
        listener.finished = listener.opening = false;
        endpoint_abandon(&listener.endpoint);
        reserve_release();
        if (listener.epoll_fd >= 0)
                close(listener.epoll_fd);
        listener.epoll_fd = -1;
        listener.thread = listener.stopping = listener.accept_paused = false;
        listener.stop_at_ns = 0;
        listener.sessions = NULL;
        listener.n_sessions = listener.n_consoles = listener.n_brokered = listener.n_left = 0;
        figures_fork_child();
        wake_fork_child();
        pthread_mutex_init(&listener.lock, NULL);
        pthread_cond_init(&listener.changed, NULL);
}
