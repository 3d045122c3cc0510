/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/connection.h"
#include "agent/framed.h"
#include "agent/log.h"
#include "agent/overdue.h"
#include "agent/runner.h"
#include "lib/console.h"

#define READ_SIZE (64U * 1024U)
/* Bytes in one send: the kernel accounts for what a client has read by whole pieces, and progress
 * has to be seen with a slow one too. */
#define SEND_SIZE (32U * 1024U)
#define SEND_VECTORS 64
/* However fast one client is, the others get their turn. */
#define READS_PER_EVENT 4
#define SENDS_PER_TURN 16

/* A child forked meanwhile may hold the descriptor too: only shutdown() ends it for the client. */
static Session *refuse_consume(int fd) {
        shutdown(fd, SHUT_RDWR);
        close(fd);
        return NULL;
}

Session *connection_admit_consume(int fd, bool room, const Service *service) {
        unsigned long version;
        Session *s;
        Peer peer;
        int r;

        r = peer_read(fd, &peer);
        if (r < 0) {
                log_line("Cannot read a client's credentials: %s", strerror(-r));
                return refuse_consume(fd);
        }
        if (!peer_allowed(&peer)) {
                log_line("Started ManholeConnectionThread thread. Checking credentials ...");
                log_line("SuspiciousClient: Can't accept client with PID:%ld UID:%lu GID:%lu. It doesn't "
                         "match the current EUID:%lu or ROOT.",
                         (long)peer.pid, (unsigned long)peer.uid, (unsigned long)peer.gid,
                         (unsigned long)geteuid());
                return refuse_consume(fd);
        }
        if (!room) {
                log_line("Too many connections: closed PID:%ld UID:%lu.", (long)peer.pid,
                         (unsigned long)peer.uid);
                return refuse_consume(fd);
        }

        version = peer_version(fd);
        s = session_new_consume(fd, &peer, version > 0);
        if (s == NULL) {
                log_line("No memory for a client.");
                return NULL;
        }
        if (version > 0 && version != CONSOLE_VERSION)
                s->ending = true; /* the hello says which versions there are, and that is all */
        s->function = service->function;
        return s;
}

static int start_console(Session *s) {
        s->run = SESSION_RUNS_CONSOLE;
        s->open_banner = true;
        pthread_mutex_lock(&s->lock);
        overdue_begin(&s->opened, false, false);
        pthread_mutex_unlock(&s->lock);
        return runner_start(s);
}

static int start_function(Session *s) {
        int r = session_give(s);

        s->run = SESSION_RUNS_FUNCTION;
        return r < 0 ? r : runner_start(s);
}

static void start(Session *s) {
        int r;

        if (s->framed) {
                (void)framed_hello(s, 0);
                return;
        }
        if (s->function || runner_has_function())
                r = start_function(s);
        else
                r = start_console(s);
        if (r < 0) {
                log_line("No thread for a console could be started.");
                s->ending = true;
        }
}

static void lose(Session *s) {
        if (session_lose(s))
                runner_interrupt(s);
}

void connection_begin(Session *s) {
        if (!runner_decides()) {
                start(s);
                return;
        }
        s->verdict = SESSION_ASKED;
        s->undecided = true;
        if (runner_ask(s) < 0) {
                log_line("No thread could be started to check a client's credentials.");
                lose(s);
        }
}

void connection_judge(Session *s) {
        SessionVerdict verdict;

        if (!s->undecided)
                return;
        pthread_mutex_lock(&s->lock);
        verdict = s->verdict;
        if (verdict == SESSION_PASSED)
                s->verdict = SESSION_ADMITTED;
        pthread_mutex_unlock(&s->lock);
        s->undecided = verdict == SESSION_ASKED;
        if (verdict == SESSION_PASSED)
                start(s);
        else if (verdict == SESSION_REFUSED)
                lose(s);
}

/* ETX interrupts at once, and what was typed before it is forgotten. */
static int receive_plain(Session *s, const uint8_t *bytes, size_t n) {
        const uint8_t *etx = memrchr(bytes, CONSOLE_ETX, n);
        int r;

        if (etx != NULL) {
                if (session_interrupt(s))
                        runner_interrupt(s);
                n -= (size_t)(etx + 1 - bytes);
                bytes = etx + 1;
        }
        pthread_mutex_lock(&s->lock);
        r = inbox_put(&s->inbox, bytes, n);
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        return r;
}

static void receive_end(Session *s) {
        s->saw_end = true;
        pthread_mutex_lock(&s->lock);
        inbox_close(&s->inbox);
        if (s->run == SESSION_RUNS_NOTHING)
                s->ending = true;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
}

static void receive(Session *s) {
        uint8_t buffer[READ_SIZE];

        for (int i = 0; i < READS_PER_EVENT; i++) {
                ssize_t n = recv(s->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
                int r;

                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                if (n < 0) {
                        lose(s);
                        return;
                }
                if (n == 0) {
                        receive_end(s);
                        return;
                }
                r = s->framed ? framed_receive(s, buffer, (size_t)n) : receive_plain(s, buffer, (size_t)n);
                if (r < 0) {
                        log_line("A client lost its session: %s",
                                 r == -EPROTO ? "it broke the protocol" : "it sent more than is read ahead");
                        lose(s);
                        return;
                }
        }
}

void connection_event(Session *s, uint32_t events) {
        bool lost, ending, runs;

        if (events & EPOLLOUT)
                s->blocked = false;
        pthread_mutex_lock(&s->lock);
        lost = s->lost;
        ending = s->ending;
        runs = s->run != SESSION_RUNS_NOTHING;
        pthread_mutex_unlock(&s->lock);
        if (lost)
                return;
        if ((events & EPOLLIN) && !ending)
                receive(s);
        /* Both directions are shut: nobody reads what would be sent. A client that has only shut its
         * own side is still served. */
        if (events & (EPOLLHUP | EPOLLERR)) {
                if (runs)
                        log_line("REPL client disconnected");
                lose(s);
        }
}

uint32_t connection_wants(Session *s) {
        uint32_t events = s->blocked ? EPOLLOUT : 0;

        pthread_mutex_lock(&s->lock);
        if (!s->saw_end && !s->ending && s->verdict == SESSION_ADMITTED)
                events |= EPOLLIN;
        pthread_mutex_unlock(&s->lock);
        return events;
}

/* One send. 0 when there is nothing (more) to do now, 1 to go on, negative errno. */
static int send_some(Session *s) {
        struct iovec vectors[SEND_VECTORS];
        struct msghdr message = { .msg_iov = vectors };
        ssize_t n;

        pthread_mutex_lock(&s->lock);
        queue_report_dropped(&s->queue, s->run_id);
        message.msg_iovlen = queue_peek(&s->queue, vectors, SEND_VECTORS, SEND_SIZE);
        pthread_mutex_unlock(&s->lock);
        if (message.msg_iovlen == 0)
                return 0;

        /* Without the lock: only this thread frees pieces. */
        n = sendmsg(s->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
                if (errno == EINTR)
                        return 1;
                s->blocked = errno == EAGAIN;
                return s->blocked ? 0 : -errno;
        }
        pthread_mutex_lock(&s->lock);
        queue_pop(&s->queue, (size_t)n);
        s->n_sent += (uint64_t)n;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        return 1;
}

bool connection_send(Session *s, bool *ret_ending) {
        bool over;
        int r = 1;

        for (int i = 0; !s->blocked && r > 0; i++) {
                if (i == SENDS_PER_TURN) {
                        s->blocked = true; /* goes on with the next EPOLLOUT, after the others */
                        break;
                }
                r = send_some(s);
        }
        if (r < 0)
                lose(s);

        pthread_mutex_lock(&s->lock);
        *ret_ending = s->ending && !queue_empty(&s->queue);
        if (*ret_ending && session_stalled(s, &s->stall))
                s->lost = true;
        over = s->lost || s->given_away ||
               (s->ending && queue_empty(&s->queue) && s->verdict == SESSION_ADMITTED);
        pthread_mutex_unlock(&s->lock);
        return !over;
}

void connection_stop(Session *s) {
        static const char json[] = "{\"reason\":\"stopping\"}";

        pthread_mutex_lock(&s->lock);
        if (s->framed && s->run != SESSION_RUNS_NOTHING && !s->lost)
                (void)queue_push(&s->queue, CONSOLE_END, s->run_id, json, sizeof(json) - 1);
        s->ending = true;
        pthread_mutex_unlock(&s->lock);
}

void connection_end(Session *s, bool interrupt) {
        uint8_t buffer[4096];

        if (session_lose(s) && interrupt)
                runner_interrupt(s);
        pthread_mutex_lock(&s->lock);
        if (!s->given_away) {
                shutdown(s->fd, SHUT_RDWR);
                /* Unread bytes would make the client's next read fail with ECONNRESET instead of its end. */
                for (int i = 0; i < 256 && recv(s->fd, buffer, sizeof(buffer), MSG_DONTWAIT) > 0; i++)
                        ;
        }
        close(s->fd);
        s->fd = -1;
        pthread_mutex_unlock(&s->lock);
}
