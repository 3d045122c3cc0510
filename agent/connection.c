/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/connection.h"
#include "agent/framed.h"
#include "agent/input.h"
#include "agent/log.h"
#include "agent/output.h"
#include "agent/overdue.h"
#include "agent/runner.h"
#include "agent/turn.h"
#include "lib/console.h"

#define READ_SIZE (64U * 1024U)
/* As much as the kernel allows up to this: a long text then wakes its thread less often. It is also what an
 * interrupt cannot take back. */
#define SOCKET_BUFFER (512 * 1024)
/* However fast one client is, the others get their turn. */
#define READS_PER_EVENT 4
#define SENDS_PER_TURN 16

/* A child forked meanwhile may hold the descriptor too: only shutdown() ends it for the client. */
static Session *refuse_consume(int fd) {
        shutdown(fd, SHUT_RDWR);
        close(fd);
        return NULL;
}

static void log_suspicious(const Peer *peer, bool root_only) {
        char own[64] = "";

        if (!root_only)
                snprintf(own, sizeof(own), "the current EUID:%lu or ", (unsigned long)geteuid());
        log_line("Started ManholeConnectionThread thread. Checking credentials ...");
        log_line("SuspiciousClient: Can't accept client with PID:%ld UID:%lu GID:%lu. It doesn't match %sROOT.",
                 (long)peer->pid, (unsigned long)peer->uid, (unsigned long)peer->gid, own);
}

Session *connection_admit_consume(int fd, bool room, const Service *service) {
        unsigned long version;
        bool brokered;
        Session *s;
        Peer peer;
        int r;

        r = peer_read(fd, &peer);
        if (r < 0) {
                log_line("Cannot read a client's credentials: %s", strerror(-r));
                return refuse_consume(fd);
        }
        if (!peer_allowed(&peer, service->root_only)) {
                log_suspicious(&peer, service->root_only);
                return refuse_consume(fd);
        }
        if (!room) {
                log_line("Too many connections: closed PID:%ld UID:%lu.", (long)peer.pid,
                         (unsigned long)peer.uid);
                return refuse_consume(fd);
        }

        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){ SOCKET_BUFFER }, sizeof(int));
        version = peer_version(fd, &brokered);
        s = session_new_consume(fd, &peer, version > 0);
        if (s == NULL) {
                log_line("No memory for a client.");
                return NULL;
        }
        if (version > 0 && version != CONSOLE_VERSION)
                s->ending = true; /* the hello says which versions there are, and that is all */
        s->function = service->function;
        s->brokered = brokered;
        return s;
}

static int start_console(Session *s) {
        pthread_mutex_lock(&s->lock);
        s->run = SESSION_RUNS_CONSOLE;
        s->open_banner = true;
        overdue_begin(&s->opened, false, false);
        pthread_mutex_unlock(&s->lock);
        return runner_start(s);
}

static int start_function(Session *s) {
        int r = session_give(s);

        pthread_mutex_lock(&s->lock);
        s->run = SESSION_RUNS_FUNCTION;
        pthread_mutex_unlock(&s->lock);
        return r < 0 ? r : runner_start(s);
}

/* Better a word than an end that nobody can explain. */
static void refuse(Session *s) {
        static const char text[] = "(no thread for a console: too little memory, or too many threads)\n";

        log_line("No thread for a console could be started.");
        (void)output_offer(s, CONSOLE_OUTPUT, text, sizeof(text) - 1);
        pthread_mutex_lock(&s->lock);
        s->ending = true;
        pthread_mutex_unlock(&s->lock);
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
        if (r < 0)
                refuse(s);
}

static void lose(Session *s) {
        if (turn_lose(s))
                runner_interrupt(s);
}

void connection_begin(Session *s) {
        if (!runner_decides()) {
                start(s);
                return;
        }
        pthread_mutex_lock(&s->lock);
        s->verdict = SESSION_ASKED;
        pthread_mutex_unlock(&s->lock);
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

static int receive_plain(Session *s, const uint8_t *bytes, size_t n) {
        bool errand;
        int r = input_receive(s, bytes, n, &errand);

        if (errand)
                runner_interrupt(s);
        return r;
}

static void receive_end(Session *s) {
        pthread_mutex_lock(&s->lock);
        s->saw_end = true;
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
        bool lost, runs;

        pthread_mutex_lock(&s->lock);
        if (events & EPOLLOUT)
                s->blocked = false;
        lost = s->lost;
        runs = s->run != SESSION_RUNS_NOTHING;
        pthread_mutex_unlock(&s->lock);
        if (lost)
                return;
        if ((events & EPOLLIN) && input_begin_io(s)) {
                receive(s);
                input_end_io(s);
        }
        /* Both directions are shut: nobody reads what would be sent. A client that has only shut its
         * own side is still served. */
        if (events & (EPOLLHUP | EPOLLERR)) {
                if (runs)
                        log_line("REPL client disconnected");
                lose(s);
        }
}

bool connection_send(Session *s, bool *ret_ending) {
        bool over;
        int r = 1;

        for (int i = 0; i < SENDS_PER_TURN && r > 0; i++)
                r = output_send(s);
        if (r < 0)
                lose(s);

        pthread_mutex_lock(&s->lock);
        s->blocked |= r > 0; /* goes on with the next EPOLLOUT, after the others */
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

        if (turn_lose(s) && interrupt)
                runner_interrupt(s);
        pthread_mutex_lock(&s->lock);
        /* Who uses the descriptor has been told, and is about to leave it. */
        while (s->sending || s->reader == SESSION_READER_CONSOLE)
                pthread_cond_wait(&s->changed, &s->lock);
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
