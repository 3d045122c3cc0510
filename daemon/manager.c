/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/manager.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "daemon/asking.h"
#include "daemon/broker.h"
#include "daemon/errors.h"
#include "daemon/log.h"
#include "daemon/notice.h"
#include "daemon/recorder-open.h"
#include "daemon/restore.h"
#include "daemon/rule-report.h"
#include "daemon/session-slate.h"
#include "lib/cleanup.h"

/* Answers that one user's clients have not read yet: many lists of all targets, but not hundreds. */
#define UNREAD_BYTES_MAX (32U * 1024U * 1024U)

/* Calls that wait for targets to be looked at are seen to this often, though nothing happens. */
static const struct timeval TURN_AT_LEAST = { .tv_usec = 200 * 1000 };

static void manager_on_reap(evutil_socket_t fd, short what, void *userdata) {
        Manager *m = userdata;
        Client *c;
        Execution *e;
        Mirror *mirror;
        Question *q;
        Session *s;

        while ((c = TAILQ_FIRST(&m->ended_clients))) {
                TAILQ_REMOVE(&m->ended_clients, c, link);
                client_free(c);
        }
        while ((mirror = TAILQ_FIRST(&m->ended_mirrors))) {
                TAILQ_REMOVE(&m->ended_mirrors, mirror, link);
                mirror_free(mirror);
        }
        while ((q = TAILQ_FIRST(&m->ended_questions))) {
                TAILQ_REMOVE(&m->ended_questions, q, link);
                question_free(q);
        }
        while ((e = TAILQ_FIRST(&m->ended_executions))) {
                TAILQ_REMOVE(&m->ended_executions, e, link);
                execution_free(e);
        }
        while ((s = TAILQ_FIRST(&m->ended_sessions))) {
                TAILQ_REMOVE(&m->ended_sessions, s, link);
                session_free(s);
        }
        if (m->listener)
                listener_resume(m->listener);
}

static void manager_reap_later(Manager *m) {
        event_active(m->reap, EV_TIMEOUT, 0);
}

/* --------------------------------------------------------------- clients */

static void manager_on_accepted(int fd, void *userdata) {
        Manager *m = userdata;
        Client *c;
        Peer peer;
        int r = peer_read(fd, &peer);

        if (r < 0) {
                (void)fd_close(fd);
                return;
        }
        (void)names_get(m->names, peer.uid);
        r = quota_charge(&m->connections, peer.uid);
        if (r < 0 || client_new_consume(&m->client_host, fd, &peer, &c) < 0) {
                log_error("A connection of uid %u is dropped: out of memory", (unsigned)peer.uid);
                if (r == 0)
                        quota_release(&m->connections, peer.uid);
                else if (r < 0)
                        (void)fd_close(fd);
                return;
        }
        TAILQ_INSERT_TAIL(&m->clients, c, link);
        if (r == QUOTA_E_EXCEEDED) {
                c->uncharged = true;
                client_refuse(c, ERROR_TOO_MANY_SESSIONS, "this user has too many connections");
        }
}

static void manager_on_client_ended(Client *c, void *userdata) {
        Manager *m = userdata;

        if (c->session)
                session_end(c->session, "closed by the client");
        turns_leave(c->question ? &m->answers : &m->turns, c);
        if (c->question)
                question_end(c->question);
        if (c->watcher)
                watcher_free(TAKE_PTR(c->watcher));
        if (c->execution)
                execution_end(c->execution);
        if (!c->uncharged)
                quota_release(&m->connections, c->peer.uid);
        TAILQ_REMOVE(&m->clients, c, link);
        TAILQ_INSERT_TAIL(&m->ended_clients, c, link);
        manager_reap_later(m);
}

static void manager_on_drained(Client *c, void *userdata) {
        if (c->watcher)
                watcher_drained(c->watcher);
        if (c->execution)
                execution_resume(c->execution);
}

static void manager_on_call(Client *c, const VarlinkCall *call, void *userdata) {
        broker_call(userdata, c, call);
}

/* -------------------------------------------------------------- sessions */

static void manager_on_session_ended(Session *s, void *userdata) {
        Manager *m = userdata;

        if (s->charged)
                quota_release(&m->connections, s->facts.peer.uid);
        quota_release(&m->sessions_of, s->facts.peer.uid);
        m->tally.sessions++;
        m->tally.input_bytes += s->to_agent.facts.position;
        m->tally.output_bytes += s->to_client.facts.position;
        if (s->target)
                watchers_look(m, s->target);
        TAILQ_REMOVE(&m->sessions, s, link);
        TAILQ_INSERT_TAIL(&m->ended_sessions, s, link);
        manager_reap_later(m);
}

static void manager_on_question_ended(Question *q, void *userdata) {
        Manager *m = userdata;

        TAILQ_REMOVE(&m->questions, q, link);
        TAILQ_INSERT_TAIL(&m->ended_questions, q, link);
        manager_reap_later(m);
}

void manager_on_execution_ended(Execution *e, void *userdata) {
        Manager *m = userdata;

        TAILQ_INSERT_TAIL(&m->ended_executions, e, link);
        manager_reap_later(m);
}

static void manager_on_mirror_ended(Mirror *mirror, void *userdata) {
        Manager *m = userdata;

        if (mirror->charged)
                quota_release(&m->connections, mirror->peer.uid);
        TAILQ_REMOVE(&m->mirrors, mirror, link);
        TAILQ_INSERT_TAIL(&m->ended_mirrors, mirror, link);
        manager_reap_later(m);
}

/* Tells the others in the same process. */
static void manager_tell_others(Manager *m, const Session *who, NoticeKind kind) {
        char person[NAMES_PERSON_MAX];
        Session *s;

        names_person(m->names, who->facts.peer.uid, person);
        TAILQ_FOREACH(s, &m->sessions, link)
                if (s != who && s->facts.joined && s->target && s->facts.target_pid == who->facts.target_pid)
                        notice_send(s, kind, kind == NOTICE_JOINED ? "%s opened a console here: session %s" :
                                    "%s has left: session %s", person, who->facts.id);
}

/* Its connection is none any more. */
static void manager_on_detached(Session *s, void *userdata) {
        Manager *m = userdata;

        if (s->charged)
                quota_release(&m->connections, s->facts.peer.uid);
        s->charged = false;
        manager_reap_later(m); /* a descriptor has become free */
}

static void manager_on_joined(Session *s, void *userdata) {
        Manager *m = userdata;

        manager_tell_others(m, s, NOTICE_JOINED);
        if (s->target)
                watchers_look(m, s->target);
}

static void manager_on_left(Session *s, void *userdata) {
        manager_tell_others(userdata, s, NOTICE_LEFT);
}

/* --------------------------------------------------------------- targets */

static void manager_on_target_gone(Target *t, void *userdata) {
        Manager *m = userdata;
        Question *q = TAILQ_FIRST(&m->questions);
        Session *s = TAILQ_FIRST(&m->sessions);

        watchers_forget(m, t);
        scanner_target_gone(m->scanner);
        while (s) {
                Session *next = TAILQ_NEXT(s, link);

                if (s->target == t)
                        session_target_gone(s);
                s = next;
        }
        while (q) {
                Question *next = TAILQ_NEXT(q, link);

                if (q->target == t)
                        question_target_gone(q);
                q = next;
        }
}

static void manager_on_stale(Target *t, bool removed, void *userdata) {
        Manager *m = userdata;
        RecordParties parties = { .target_pid = t->pid, .target_uid = t->file.st_uid, .target_comm = t->comm,
                                  .target_unit = t->unit, .target_gone = true };

        m->tally.stale_removed += removed;
        log_info(removed ? "Removed stale socket %s." : "Found stale socket %s, and left it.", t->path);
        recorder_post(m->recorder, &(Record){ .event = RECORD_STALE, .parties = &parties, .socket = t->path,
                                              .removed = removed });
}

void manager_next_turn(Manager *m) {
        (void)event_add(m->turn, &(struct timeval){});
}

static void manager_on_looked(Target *t, void *userdata) {
        watchers_look(userdata, t);
        if (t->hurried)
                manager_next_turn(userdata);
}

static void manager_on_settled(void *userdata) {
        restore_targets(userdata);
        manager_next_turn(userdata);
}

static void manager_on_turn(evutil_socket_t fd, short what, void *userdata) {
        Manager *m = userdata;

        (void)event_add(m->turn, &TURN_AT_LEAST);
        broker_take_turn(m);
        asking_take_turn(m);
        if (TAILQ_EMPTY(&m->turns.waiting) && TAILQ_EMPTY(&m->answers.waiting))
                (void)event_del(m->turn);
}

/* ------------------------------------------------------------------ life */

static void manager_on_stop(evutil_socket_t number, short what, void *userdata) {
        Manager *m = userdata;

        (void)event_base_loopbreak(m->loop);
        m->stopping = true;
}

static void manager_on_suspend(evutil_socket_t number, short what, void *userdata) {
        Manager *m = userdata;

        m->suspending = true;
        manager_on_stop(number, what, m);
}

static uint64_t monotonic_usec(void) {
        struct timespec ts = {};

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000U + (uint64_t)ts.tv_nsec / 1000U;
}

static void manager_on_watchdog(evutil_socket_t fd, short what, void *userdata) {
        (void)sd_notify(0, "WATCHDOG=1");
}

static int manager_start_watchdog(Manager *m) {
        uint64_t usec;

        if (sd_watchdog_enabled(0, &usec) <= 0)
                return 0;
        usec /= 2;
        m->watchdog = event_new(m->loop, -1, EV_PERSIST, manager_on_watchdog, m);
        if (!m->watchdog ||
            event_add(m->watchdog, &(struct timeval){ .tv_sec = (time_t)(usec / 1000000U),
                                                      .tv_usec = (suseconds_t)(usec % 1000000U) }) < 0)
                return -ENOMEM;
        return 0;
}

static int manager_scan_each(Manager *m, const Config *config, int (*each)(Scanner *s, const char *path)) {
        for (size_t i = 0; i < config->n_scan; i++) {
                int r = each(m->scanner, config->scan[i]);

                if (r < 0) {
                        log_error("%s cannot be scanned: %s", config->scan[i], strerror(-r));
                        return r;
                }
        }
        return 0;
}

/* What was decided stays decided: sessions go on. */
static void manager_adopt_policy(Manager *m, Policy *policy) {
        rule_warn(policy);
        policy_done(&m->policy);
        m->policy = *policy;
        *policy = (Policy){};
        m->n_policies++;
        watchers_review(m);
        log_info("Rules of the policy before the default: %zu.", m->policy.n_rules);
}

static void manager_check_limits(Manager *m) {
        Session *s = TAILQ_FIRST(&m->sessions);

        while (s) {
                Session *next = TAILQ_NEXT(s, link);

                if (s->state == SESSION_RELAYING)
                        session_limits_check(s);
                s = next;
        }
}

/* What can change while sessions run: all but where they are recorded. Nothing changes if a folder
 * is not there. */
static int manager_apply(Manager *m, Config *config) {
        int r = manager_scan_each(m, config, scanner_check_folder);

        if (r < 0)
                return r;
        if (config->log_level >= 0)
                log_set_level(config->log_level);
        r = manager_scan_each(m, config, scanner_add_folder);
        if (r < 0)
                return r;
        inspector_set_remove_stale(&m->inspector, config->remove_stale);
        scanner_keep_folders(m->scanner, (const char *const *)config->scan, config->n_scan);
        m->connections.max_per_user = config->connections_per_user;
        manager_adopt_policy(m, &config->policy);
        m->sessions_of.max_per_user = config->sessions_per_user;
        m->registry.owners.max_per_user = config->targets_per_user;
        r = recorder_set_rules(m->recorder, &config->recorder_rules);
        if (r < 0)
                return r;
        m->session_limits = config->session_limits;
        m->require_reason = config->require_reason;
        manager_check_limits(m);
        return 0;
}

static void manager_end_reload(Manager *m) {
        config_done(&m->next);
        (void)sd_notify(0, "READY=1");
}

static int manager_begin_reload(Manager *m) {
        int r = m->reload(&m->next);

        if (r < 0)
                return r;
        r = resolver_begin(m->resolver, &m->next.policy);
        if (r < 0)
                log_error("The names in the policy cannot be asked for: %s", strerror(-r));
        return r;
}

/* The old configuration stands until the name service has answered. */
static void manager_on_reload(evutil_socket_t number, short what, void *userdata) {
        Manager *m = userdata;

        m->reload_again = resolver_is_busy(m->resolver);
        if (m->reload_again)
                return;
        (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, monotonic_usec());
        config_init(&m->next);
        m->reload_failed = manager_begin_reload(m) < 0;
        if (m->reload_failed)
                manager_end_reload(m);
}

static void manager_on_resolved(Policy *policy, void *userdata) {
        Manager *m = userdata;

        m->next.policy = *policy;
        if (!m->reload_again) {
                m->reload_failed = manager_apply(m, &m->next) < 0;
                if (!m->reload_failed)
                        log_info("Configuration reloaded.");
        }
        manager_end_reload(m);
        if (m->reload_again)
                manager_on_reload(-1, 0, m);
}

static int manager_start_events(Manager *m) {
        m->reap = event_new(m->loop, -1, 0, manager_on_reap, m);
        m->turn = event_new(m->loop, -1, 0, manager_on_turn, m);
        m->sigterm = evsignal_new(m->loop, SIGTERM, manager_on_stop, m);
        m->sigint = evsignal_new(m->loop, SIGINT, manager_on_stop, m);
        m->sighup = evsignal_new(m->loop, SIGHUP, manager_on_reload, m);
        m->sigusr1 = evsignal_new(m->loop, SIGUSR1, manager_on_suspend, m);
        if (!m->reap || !m->turn || !m->sigterm || !m->sigint || !m->sighup || !m->sigusr1 ||
            event_add(m->sigterm, NULL) < 0 || event_add(m->sigint, NULL) < 0 || event_add(m->sighup, NULL) < 0 ||
            event_add(m->sigusr1, NULL) < 0)
                return -ENOMEM;
        return manager_start_watchdog(m);
}

static int manager_start(Manager *m, Config *config) {
        static const InspectorEvents inspector_events = { manager_on_target_gone, manager_on_stale,
                                                          manager_on_looked, manager_on_settled };
        int r;

        /* Before there is another process, which has no part in what was passed. */
        r = store_init(&m->store);
        if (r < 0) {
                log_error("What was passed cannot be taken: %s", strerror(-r));
                return r;
        }
        m->loop = event_base_new();
        if (!m->loop)
                return -ENOMEM;
        /* First: it drops privileges, and nothing may have a thread before. */
        r = priv_new(m->loop, &m->priv);
        if (r < 0) {
                log_error("manholed-priv cannot be started: %s", strerror(-r));
                return r;
        }
        r = names_new(m->loop, &m->names);
        if (r < 0)
                return r;
        r = recorder_open(m->loop, config->record, &m->recorder);
        if (r < 0) {
                log_error("Sessions cannot be recorded to %s: %s", config->record, strerror(-r));
                return r;
        }
        r = hangups_new(m->loop, &m->hangups);
        if (r < 0)
                return r;
        quota_init(&m->connections, config->connections_per_user);
        quota_init(&m->sessions_of, config->sessions_per_user);
        quota_init(&m->watchers_of, WATCHERS_PER_USER);
        quota_init(&m->unread, UNREAD_BYTES_MAX);
        m->client_host = (ClientHost){ m->loop, m->hangups, &m->unread, &m->tally, manager_on_call, manager_on_drained,
                                        manager_on_client_ended, m };
        m->session_host = (SessionHost){ m->loop, m->priv, m->names, m->recorder, m->hangups, &m->store, &m->session_limits,
                                         manager_on_session_ended, manager_on_detached, manager_on_joined, manager_on_left, m };
        m->question_host = (QuestionHost){ m->loop, m->priv, &m->unread, asking_on_answered, asking_on_failed,
                                           manager_on_question_ended, m };
        m->mirror_host = (MirrorHost){ m->loop, m->hangups, manager_on_mirror_ended, m };
        m->inspector = (Inspector){ m->loop, m->priv, m->names, &m->registry, &inspector_events, m };
        r = inspector_init(&m->inspector);
        if (r == 0)
                r = manager_start_events(m);
        if (r == 0)
                r = resolver_new(m->loop, manager_on_resolved, m, &m->resolver);
        if (r == 0)
                r = scanner_new(m->loop, &m->inspector, &m->scanner);
        if (r < 0)
                return r;
        resolve_policy(&config->policy);
        r = manager_apply(m, config);
        if (r == 0)
                restore_sessions(m);
        return r;
}

int manager_new(Config *config, int (*reload)(Config *ret), Manager **ret) {
        Manager *m = calloc(1, sizeof(*m));
        int r;

        if (!m)
                return -ENOMEM;
        m->reload = reload;
        m->since = time(NULL);
        registry_init(&m->registry, config->targets_per_user);
        turns_init(&m->turns);
        turns_init(&m->answers);
        TAILQ_INIT(&m->clients);
        TAILQ_INIT(&m->ended_clients);
        TAILQ_INIT(&m->sessions);
        TAILQ_INIT(&m->ended_sessions);
        TAILQ_INIT(&m->mirrors);
        TAILQ_INIT(&m->ended_mirrors);
        TAILQ_INIT(&m->questions);
        TAILQ_INIT(&m->ended_questions);
        TAILQ_INIT(&m->ended_executions);
        TAILQ_INIT(&m->watchers);
        r = manager_start(m, config);
        if (r < 0) {
                manager_free(m);
                return r;
        }
        *ret = m;
        return 0;
}

static void manager_log_folder(const char *path, void *userdata) {
        log_info("Looking for sockets in %s.", path);
}

int manager_run(Manager *m, const char *control) {
        static const char *const stored[] = { SESSION_STORED, CLIENT_STORED };
        int passed = store_take_other(&m->store, stored, 2);
        int r = listener_new_consume(m->loop, passed, control, manager_on_accepted, m, &m->listener);

        if (r < 0) {
                log_error("Cannot listen on %s: %s", control ?: "the socket passed", strerror(-r));
                return r;
        }
        scanner_each_folder(m->scanner, manager_log_folder, NULL);
        log_info("Ready. Sessions are recorded to: %s.", m->recorder->description);
        (void)sd_notify(0, "READY=1");
        if (event_base_dispatch(m->loop) < 0)
                return -EIO;
        (void)sd_notify(0, "STOPPING=1");
        return m->stopping ? 0 : -EPIPE;
}

static void event_drop(struct event *event) {
        if (event)
                event_free(event);
}

void manager_free(Manager *m) {
        if (!m)
                return;
        listener_free(TAKE_PTR(m->listener));
        while (!TAILQ_EMPTY(&m->sessions)) {
                Session *s = TAILQ_FIRST(&m->sessions);

                /* One that is broken is started anew. */
                if ((m->stopping && !m->suspending) || !session_suspend(s))
                        session_cancel(s, "the daemon is stopping");
        }
        while (!TAILQ_EMPTY(&m->mirrors))
                mirror_end(TAILQ_FIRST(&m->mirrors));
        while (!TAILQ_EMPTY(&m->clients))
                client_end(TAILQ_FIRST(&m->clients));
        if (m->reap)
                manager_on_reap(-1, 0, m);
        scanner_free(m->scanner);
        registry_done(&m->registry);
        inspector_done(&m->inspector);
        resolver_free(m->resolver);
        config_done(&m->next);
        policy_done(&m->policy);
        recorder_free(m->recorder);
        hangups_free(m->hangups);
        names_free(m->names);
        priv_free(m->priv);
        quota_done(&m->connections);
        quota_done(&m->sessions_of);
        quota_done(&m->watchers_of);
        quota_done(&m->unread);
        event_drop(m->reap);
        event_drop(m->turn);
        event_drop(m->sigterm);
        event_drop(m->sigint);
        event_drop(m->sighup);
        event_drop(m->sigusr1);
        event_drop(m->watchdog);
        if (m->loop)
                event_base_free(m->loop);
        store_done(&m->store);
        free(m);
}
