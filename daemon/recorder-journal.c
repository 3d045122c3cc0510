/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Records in the systemd journal.
 *
 * Written by its native protocol on a non-blocking socket of our own: sd_journal_sendv(3) waits while
 * journald is stopped, and would stop every session with it. A session's start record is read back before
 * a byte flows, because the journal accepts and drops records without saying so (journal-reader.h); while
 * sessions run, so is the last record once a second.
 */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/journal-barrier.h"
#include "daemon/journal-datagram.h"
#include "daemon/journal-reader.h"
#include "daemon/log.h"
#include "daemon/recorder.h"
#include "lib/cleanup.h"

#ifndef JOURNAL_SOCKET
#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#endif
/* Records that nobody could wait for; what comes when this is full is lost, and logged. */
#define KEPT_BYTES_MAX (4U * 1024U * 1024U)
/* How long the journal may be unreachable (a restart), or without room, before it counts as lost. */
#define LOST_AFTER_USEC (5U * 1000U * 1000U)
#ifndef FULL_LOST_AFTER_USEC
#define FULL_LOST_AFTER_USEC (30U * 1000U * 1000U)
#endif
/* How long a record may take to appear when the journal says that it has stored all. */
#define APPEARS_WITHIN_USEC (3U * 1000U * 1000U)
/* When it does not, the journal keeps nothing, for so long. */
#define DROPPING_USEC (5U * 1000U * 1000U)
/* How long to wait for room at the very end. */
#define LAST_FLUSH_MSEC 3000
static const struct timeval RETRY = { .tv_usec = 50 * 1000 };
static const struct timeval FULL_RETRY = { .tv_sec = 1 }; /* or when there is room */
static const struct timeval CHECK_EVERY = { .tv_sec = 1 };

typedef struct Kept {
        STAILQ_ENTRY(Kept) link;
        size_t n;
        char bytes[];
} Kept;

/* A record of a session, to be looked for in the journal. */
typedef struct Sent {
        char session[RECORD_SESSION_ID_MAX]; /* empty: none */
        uint64_t seq;
        bool output; /* journald drops what is of low priority first */
} Sent;

typedef struct JournalRecorder {
        Recorder base;
        struct event_base *loop;
        int fd;                   /* owned; -1 while there is no journal */
        struct event *writable;   /* owned */
        struct event *retry;      /* owned: reconnects, and looks again for records */
        struct event *check;      /* owned */
        JournalDatagram datagram; /* of the record that is being written */
        STAILQ_HEAD(, Kept) kept;
        uint64_t unreachable_since, full_since; /* 0: it is not */
        Sent last, looked_for;                  /* sent since the last check; being looked for */
        uint64_t looks_since;    /* when the journal first said that it has stored that; 0: not yet */
        uint64_t dropping_since; /* 0: it keeps what it is sent */
        JournalBarrier *barrier; /* owned */
        JournalReader *reader;   /* owned */
} JournalRecorder;

/* --------------------------------------------------------------- sending */

static void journal_disconnect(JournalRecorder *j) {
        if (j->writable)
                event_free(j->writable);
        j->writable = NULL;
        j->fd = fd_close(j->fd);
}

static void journal_on_writable(evutil_socket_t fd, short what, void *userdata);

static int journal_connect(JournalRecorder *j) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET };
        int r;

        j->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (j->fd < 0)
                return -errno;
        if (connect(j->fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0) {
                r = -errno;
                goto fail;
        }
        r = -ENOMEM;
        j->writable = event_new(j->loop, j->fd, EV_WRITE, journal_on_writable, j);
        if (!j->writable)
                goto fail;
        return 0;
fail:
        journal_disconnect(j);
        return r;
}

static bool is_unreachable(int error) {
        return error == -ECONNREFUSED || error == -ENOENT || error == -ENOTCONN || error == -ECONNRESET ||
               error == -EPIPE;
}

/* It may still come back. */
static bool is_away(int error) {
        return is_unreachable(error) || error == -ETIMEDOUT || error == -ENODATA;
}

/* What to make of an attempt that failed: -EAGAIN (the loop is told to look again), or lost. */
static int journal_judge(JournalRecorder *j, int error) {
        uint64_t now = recorder_clock();

        if ((error == -EAGAIN || error == -ENOBUFS) && j->writable) {
                (void)event_add(j->writable, &FULL_RETRY);
                if (j->full_since == 0)
                        j->full_since = now;
                return now - j->full_since > FULL_LOST_AFTER_USEC ? -ETIMEDOUT : -EAGAIN;
        }
        if (!is_unreachable(error))
                return error;
        (void)event_add(j->retry, &RETRY);
        if (j->unreachable_since == 0)
                j->unreachable_since = now;
        return now - j->unreachable_since > LOST_AFTER_USEC ? error : -EAGAIN;
}

/* 0, -EAGAIN (the loop is told to look again), or another errno: lost. */
static int journal_try(JournalRecorder *j, Slate *slate, const void *bytes, size_t n) {
        int r = 0;

        for (unsigned attempt = 0; attempt < 2; attempt++) {
                r = j->fd < 0 ? journal_connect(j) : 0;
                if (r == 0 && slate_send(slate, j->fd, bytes, n) < 0)
                        r = -errno;
                if (!is_unreachable(r))
                        break;
                journal_disconnect(j); /* journald restarted: its socket is a new one */
        }
        if (r < 0)
                return journal_judge(j, r);
        j->unreachable_since = j->full_since = 0;
        return 0;
}

static int journal_send(JournalRecorder *j, Slate *slate, const void *bytes, size_t n) {
        int r = journal_try(j, slate, bytes, n);

        if (r == 0 || r == -EAGAIN || is_away(r))
                recorder_found_room(&j->base, r == 0);
        return r;
}

static int journal_flush(JournalRecorder *j) {
        Kept *kept;

        while ((kept = STAILQ_FIRST(&j->kept))) {
                int r = journal_send(j, NULL, kept->bytes, kept->n);

                if (r == -EAGAIN || is_away(r))
                        return r;
                if (r < 0) { /* it will never be taken, and must not keep the others back */
                        log_error("A record is lost: %s", strerror(-r));
                        j->base.n_lost++;
                }
                STAILQ_REMOVE_HEAD(&j->kept, link);
                j->base.queued_bytes -= kept->n;
                free(kept);
        }
        return 0;
}

static int journal_keep(JournalRecorder *j, const JournalDatagram *d) {
        Kept *kept;

        if (j->base.queued_bytes + d->n > KEPT_BYTES_MAX)
                return -ENOBUFS;
        kept = malloc(sizeof(*kept) + d->n);
        if (!kept)
                return -ENOMEM;
        kept->n = d->n;
        memcpy(kept->bytes, d->bytes, d->n);
        STAILQ_INSERT_TAIL(&j->kept, kept, link);
        j->base.queued_bytes += d->n;
        return 0;
}

/* The next check looks for the last record, or rather for one that is dropped sooner. */
static void journal_note(JournalRecorder *j, const Record *record) {
        bool output = record->event == RECORD_OUTPUT;

        if (j->last.output && !output)
                return;
        (void)snprintf(j->last.session, sizeof(j->last.session), "%s", record->parties->session);
        j->last.seq = record->seq;
        j->last.output = output;
        if (!event_pending(j->check, EV_TIMEOUT, NULL))
                (void)event_add(j->check, &CHECK_EVERY);
}

static bool journal_drops(const JournalRecorder *j) {
        return j->dropping_since > 0 && recorder_clock() - j->dropping_since < DROPPING_USEC;
}

static int journal_write(Recorder *recorder, RecorderSession *session, const Record *record, bool keep) {
        JournalRecorder *j = (JournalRecorder *)recorder;
        int r = journal_datagram_encode(&j->datagram, record);

        if (r < 0)
                return r;
        if (journal_drops(j) && !keep)
                return -ENODATA;
        /* What was kept goes first: records stay in order. */
        r = journal_flush(j) ?: journal_send(j, session ? session->slate : NULL, j->datagram.bytes, j->datagram.n);
        if ((r == -EAGAIN || is_away(r)) && keep)
                r = journal_keep(j, &j->datagram);
        if (r == 0 && session)
                journal_note(j, record);
        return r;
}

/* --------------------------------------------------------- reading it back */

static bool journal_check_starts(JournalRecorder *j) {
        RecorderSession *session = TAILQ_FIRST(&j->base.sessions);
        bool waiting = false;

        while (session) {
                RecorderSession *next = TAILQ_NEXT(session, link);

                if (session->starting) {
                        if (journal_reader_has(j->reader, session->parties.session, 0)) {
                                j->dropping_since = 0;
                                recorder_session_ready(session, 0);
                        } else if (recorder_clock() - session->started > APPEARS_WITHIN_USEC)
                                recorder_session_ready(session, -ENODATA);
                        else
                                waiting = true;
                }
                session = next;
        }
        return waiting;
}

/* Whether to look again soon. */
static bool journal_check_last(JournalRecorder *j, bool answered) {
        uint64_t now = recorder_clock();

        if (!*j->looked_for.session)
                return false;
        if (!answered) { /* journald restarts, or is slow: that is another matter */
                j->looks_since = 0;
                return true;
        }
        if (j->looks_since == 0)
                j->looks_since = now;
        if (journal_reader_has(j->reader, j->looked_for.session, j->looked_for.seq)) {
                j->dropping_since = 0;
                j->looked_for = (Sent){};
                return false;
        }
        if (now - j->looks_since <= APPEARS_WITHIN_USEC)
                return true;
        log_error("The journal does not keep what it is sent: record %" PRIu64
                  " of session %s is not there.",
                  j->looked_for.seq, j->looked_for.session);
        j->looked_for = (Sent){};
        j->dropping_since = now;
        recorder_stop(&j->base, "the journal does not keep the record");
        return false;
}

static void journal_on_barrier(bool answered, void *userdata) {
        JournalRecorder *j = userdata;
        bool waiting = journal_check_starts(j);

        if (journal_check_last(j, answered) || waiting)
                (void)event_add(j->retry, &RETRY);
}

static void journal_on_check(evutil_socket_t fd, short what, void *userdata) {
        JournalRecorder *j = userdata;

        if (!*j->last.session)
                return;
        (void)event_add(j->check, &CHECK_EVERY);
        if (*j->looked_for.session || !STAILQ_EMPTY(&j->kept))
                return;
        j->looked_for = j->last;
        j->last = (Sent){};
        j->looks_since = 0;
        journal_barrier_request(j->barrier);
}

static void journal_on_retry(evutil_socket_t fd, short what, void *userdata) {
        JournalRecorder *j = userdata;
        bool looks = *j->looked_for.session;
        RecorderSession *session;

        (void)journal_flush(j);
        recorder_room(&j->base);
        TAILQ_FOREACH(session, &j->base.sessions, link)
        looks = looks || session->starting;
        if (looks)
                journal_barrier_request(j->barrier);
}

/* There is room, or there was none for a while: who waits hears when that is too long. */
static void journal_on_writable(evutil_socket_t fd, short what, void *userdata) {
        JournalRecorder *j = userdata;
        int r = journal_flush(j);

        if (r == 0 || r == -ETIMEDOUT)
                recorder_room(&j->base);
}

static int journal_begin(Recorder *recorder, RecorderSession *session, const Record *record) {
        JournalRecorder *j = (JournalRecorder *)recorder;
        int r = journal_write(recorder, session, record, true);

        if (r < 0)
                return r;
        journal_barrier_request(j->barrier);
        return RECORDER_E_PENDING;
}

/* On disk, as far as the journal can say so. */
static void journal_end(Recorder *recorder, RecorderSession *session) {
        journal_barrier_request(((JournalRecorder *)recorder)->barrier);
}

static void journal_store(Recorder *recorder, RecorderStore *ret) {
        JournalState state;

        journal_reader_state(((JournalRecorder *)recorder)->reader, &state);
        *ret = (RecorderStore){ .known = state.readable,
                                .is_volatile = state.is_volatile,
                                .since_usec = state.since_usec,
                                .bytes = state.bytes };
}

/* At the end, when nothing else is served, the last records may take their time. */
static int journal_flush_last(JournalRecorder *j) {
        int r;

        while ((r = journal_flush(j)) == -EAGAIN && j->fd >= 0)
                if (poll(&(struct pollfd){ .fd = j->fd, .events = POLLOUT }, 1, LAST_FLUSH_MSEC) <= 0)
                        break;
        return r;
}

static void journal_free(Recorder *recorder) {
        JournalRecorder *j = (JournalRecorder *)recorder;
        Kept *kept;

        if (journal_flush_last(j) < 0)
                log_error("%llu bytes of records are lost: the journal takes none",
                          (unsigned long long)j->base.queued_bytes);
        while ((kept = STAILQ_FIRST(&j->kept))) {
                STAILQ_REMOVE_HEAD(&j->kept, link);
                free(kept);
        }
        /* journald looks up who sent a record when it reads it: while we are here. */
        if (j->barrier && *j->last.session)
                journal_barrier_wait();
        journal_disconnect(j);
        if (j->retry)
                event_free(j->retry);
        if (j->check)
                event_free(j->check);
        journal_barrier_free(j->barrier);
        journal_reader_free(j->reader);
        journal_datagram_done(&j->datagram);
        recorder_done(&j->base);
        free(j);
}

int recorder_journal_new(struct event_base *loop, Recorder **ret) {
        static const RecorderVTable vtable = { "journal",    journal_begin, journal_write, journal_end,
                                               journal_free, NULL,          journal_store };
        JournalRecorder *j = calloc(1, sizeof(*j));

        if (!j)
                return -ENOMEM;
        recorder_init(&j->base, &vtable, vtable.name);
        j->loop = loop;
        j->fd = -1;
        STAILQ_INIT(&j->kept);
        j->retry = event_new(loop, -1, 0, journal_on_retry, j);
        j->check = event_new(loop, -1, 0, journal_on_check, j);
        j->reader = journal_reader_new();
        if (!j->retry || !j->check || !j->reader ||
            journal_barrier_new(loop, journal_on_barrier, j, &j->barrier) < 0) {
                journal_free(&j->base);
                return -ENOMEM;
        }
        *ret = &j->base;
        return 0;
}
