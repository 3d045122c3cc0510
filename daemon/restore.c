/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/restore.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "daemon/log.h"
#include "daemon/manager.h"
#include "daemon/session-relay.h"
#include "daemon/session-slate.h"
#include "lib/cleanup.h"

/* Under one name there are the slate and a socket; the order varies. */
static void take_pair(Store *store, const char *name, int *ret_slate, int *ret_agent) {
        struct stat st;
        int fd;

        while ((fd = store_take(store, name)) >= 0) {
                int *to = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? ret_slate : ret_agent;

                (void)fd_close(*to);
                *to = fd;
        }
}

/* The end of a session that nobody can go on with, of whichever version its slate is. */
static void record_end(Manager *m, const Slate *slate, const char *why) {
        const SlateHeader *h = &slate->pages->header;
        const SlateState *v = slate_now(slate);
        RecordParties parties = {
                .session = h->session,
                .client_uid = h->client_uid,
                .client_user = h->client_user,
                .client_pid = (pid_t)v->client_pid,
                .target_pid = (pid_t)h->target_pid,
                .target_uid = h->target_uid,
                .target_comm = h->target_comm,
                .target_unit = h->target_unit[0] ? h->target_unit : NULL,
                .target_gone = true,
        };

        recorder_post(m->recorder, &(Record){ .event = RECORD_END,
                                              .parties = &parties,
                                              .seq = v->seq,
                                              .usec = recorder_clock() - h->started,
                                              .reason = why,
                                              .input_bytes = v->input_bytes,
                                              .output_bytes = v->output_bytes,
                                              .input_records = v->input_records,
                                              .output_records = v->output_records });
}

static int charge(Manager *m, Session *s) {
        uid_t uid = s->facts.peer.uid;
        int r = quota_charge_anyway(&m->sessions_of, uid);

        if (r < 0)
                return r;
        s->charged = s->client_fd >= 0 && quota_charge_anyway(&m->connections, uid) == 0;
        return 0;
}

/* NULL when it goes on, else why not. */
static const char *restore_session(Manager *m, Session *s, const char *id) {
        const SlateHeader *h = &s->slate.pages->header;

        if (strcmp(h->session, id) != 0)
                return "what the broker has left is another session's";
        if (s->agent_fd < 0)
                return "the broker has lost its connection to the target";
        if (strcmp(h->recorder, m->recorder->vtable->name) != 0)
                return "it was recorded elsewhere than sessions are now";
        if (session_slate_load(s) < 0)
                return "what the broker has left cannot be read";
        if (recorder_resume(m->recorder, &s->record) < 0)
                return "its record cannot be continued";
        if (session_relay_restore(s) < 0 || charge(m, s) < 0) {
                recorder_suspend(&s->record);
                return "out of memory";
        }
        return NULL;
}

static void go_on(Manager *m, Session *s) {
        bool in_order = slate_now(&s->slate)->suspended;

        (void)names_get(m->names, s->facts.peer.uid);
        TAILQ_INSERT_TAIL(&m->sessions, s, link);
        log_info("Session %s goes on.", s->facts.id);
        recorder_keep(
                &s->record,
                (Record){ .event = RECORD_RESTART,
                          .reason = in_order ? "the broker was started anew"
                                             : "the broker had ended unexpectedly, and was started anew" });
        session_relay_go_on(s);
}

/* What nobody goes on with. */
static void drop(Store *store, const char *name) {
        char copy[256];
        unsigned n = 0;
        int fd;

        (void)snprintf(copy, sizeof(copy), "%s", name);
        for (; (fd = store_take(store, copy)) >= 0; n++) {
                (void)shutdown(fd, SHUT_RDWR);
                (void)fd_close(fd);
        }
        store_drop(store, copy, n);
}

/* Closes it, here and in the store. */
static void give_up(Session *s) {
        session_slate_drop(s);
        flow_done(&s->to_agent);
        flow_done(&s->to_client);
        s->client_fd = fd_close(s->client_fd);
        s->agent_fd = fd_close(s->agent_fd);
        session_free(s);
}

static void restore_one(Manager *m, const char *id) {
        char name[STORE_NAME_MAX];
        const char *why = NULL;
        Session *s = session_alloc(&m->session_host);
        int fd = -1, r = SLATE_E_NOT_ONE;

        (void)snprintf(name, sizeof(name), SESSION_STORED "%s", id);
        if (!s) {
                drop(&m->store, name);
                return;
        }
        (void)snprintf(s->facts.id, sizeof(s->facts.id), "%s", id);
        take_pair(&m->store, name, &fd, &s->agent_fd);
        (void)snprintf(name, sizeof(name), CLIENT_STORED "%s", id);
        s->client_fd = store_take(&m->store, name);
        s->stored = true;
        s->client_stored = s->client_fd >= 0;
        if (fd >= 0)
                r = slate_open(&s->slate, fd);
        if (r != 0 && r != SLATE_E_VERSION)
                (void)fd_close(fd);
        if (r == 0 && slate_now(&s->slate)->ended) {
                give_up(s);
                return;
        }
        if (r == 0)
                why = restore_session(m, s, id);
        else if (r == SLATE_E_VERSION)
                why = "another version of the broker has left it";
        if (r == 0 && !why) {
                go_on(m, s);
                return;
        }
        log_warning("Session %s does not go on: %s.", id, why ?: "nothing is known of it");
        if (why)
                record_end(m, &s->slate, why);
        give_up(s);
}

void restore_sessions(Manager *m) {
        char id[RECORD_SESSION_ID_MAX];
        const char *name;

        while ((name = store_next(&m->store, SESSION_STORED))) {
                const char *stored = name + strlen(SESSION_STORED);

                if (strlen(stored) == sizeof(id) - 1)
                        restore_one(m, memcpy(id, stored, sizeof(id)));
                else
                        drop(&m->store, name);
        }
        while ((name = store_next(&m->store, CLIENT_STORED)))
                drop(&m->store, name);
}

static Target *find_target(Registry *r, const Session *s) {
        Target *t;

        TAILQ_FOREACH(t, &r->targets, link)
        if (t->has_process && t->pid == s->facts.target_pid && t->start_time == s->facts.target_start)
                return t;
        return NULL;
}

void restore_targets(Manager *m) {
        Session *s;

        TAILQ_FOREACH(s, &m->sessions, link) {
                if (s->target || s->state != SESSION_RELAYING)
                        continue;
                s->target = find_target(&m->registry, s);
                if (s->target)
                        s->target->n_sessions++;
        }
}
