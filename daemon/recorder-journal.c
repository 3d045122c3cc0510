/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Records in the systemd journal.
 *
 * Written by its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/) on a non-blocking
 * socket of our own: sd_journal_sendv(3) waits while journald is stopped, and would stop every
 * session with it. A session's start record is read back before a byte flows, because the journal
 * accepts and drops records (rate limits, Storage=none) without saying so.
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "daemon/journal-barrier.h"
#include "daemon/log.h"
#include "daemon/recorder.h"
#include "lib/cleanup.h"

#ifndef JOURNAL_SOCKET
#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#endif
/* Records that nobody could wait for; what comes when this is full is lost, and logged. */
#define KEPT_BYTES_MAX (4U * 1024U * 1024U)
/* How long the journal may be unreachable (a restart) before it counts as lost. */
#define LOST_AFTER_USEC (5U * 1000U * 1000U)
/* How long a start record may take to appear. */
#define START_WITHIN_USEC (3U * 1000U * 1000U)
/* How long to wait for room at the very end. */
#define LAST_FLUSH_MSEC 3000
static const struct timeval RETRY = { .tv_usec = 50 * 1000 };

typedef struct Kept {
        STAILQ_ENTRY(Kept) link;
        size_t n;
        char bytes[];
} Kept;

typedef struct JournalRecorder {
        Recorder base;
        struct event_base *loop;
        int fd;                 /* owned; -1 while there is no journal */
        struct event *writable; /* owned */
        struct event *retry;    /* owned: reconnects, and looks again for start records */
        STAILQ_HEAD(, Kept) kept;
        uint64_t unreachable_since; /* 0: reachable */
        JournalBarrier *barrier;
        sd_journal *reader; /* owned; opened at the first session */
} JournalRecorder;

/* -------------------------------------------------------------- encoding */

typedef struct Datagram {
        char *bytes; /* owned */
        size_t n, allocated;
} Datagram;

static int datagram_put(Datagram *d, const void *data, size_t n) {
        if (d->n + n > d->allocated) {
                size_t allocated = (d->n + n) * 2;
                char *grown = realloc(d->bytes, allocated);

                if (!grown)
                        return -ENOMEM;
                d->bytes = grown;
                d->allocated = allocated;
        }
        memcpy(d->bytes + d->n, data, n);
        d->n += n;
        return 0;
}

static int datagram_put_field(const char *name, const void *data, size_t n_data, void *userdata) {
        Datagram *d = userdata;
        uint8_t length[8];
        int r = datagram_put(d, name, strlen(name));

        if (r == 0 && n_data > 0 && memchr(data, '\n', n_data)) {
                for (unsigned i = 0; i < 8; i++)
                        length[i] = (uint8_t)((uint64_t)n_data >> (8 * i));
                r = datagram_put(d, "\n", 1) ?: datagram_put(d, length, sizeof(length));
        } else if (r == 0)
                r = datagram_put(d, "=", 1);
        if (r == 0 && n_data > 0)
                r = datagram_put(d, data, n_data);
        return r ?: datagram_put(d, "\n", 1);
}

static int datagram_encode(const Record *record, Datagram *ret) {
        static const char identifier[] = "SYSLOG_IDENTIFIER=manholed\n";

        *ret = (Datagram){};
        return record_fields(record, datagram_put_field, ret) ?:
                datagram_put(ret, identifier, strlen(identifier));
}

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

/* 0, -EAGAIN (the loop is told to look again), or another errno: lost. */
static int journal_try(JournalRecorder *j, const void *bytes, size_t n) {
        int r = 0;

        for (unsigned attempt = 0; attempt < 2; attempt++) {
                r = j->fd < 0 ? journal_connect(j) : 0;
                if (r == 0 && send(j->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                        r = -errno;
                if (!is_unreachable(r))
                        break;
                journal_disconnect(j); /* journald restarted: its socket is a new one */
        }
        if (r == 0) {
                j->unreachable_since = 0;
                return 0;
        }
        if ((r == -EAGAIN || r == -ENOBUFS) && j->writable) {
                (void)event_add(j->writable, NULL);
                return -EAGAIN;
        }
        if (!is_unreachable(r))
                return r;
        if (j->unreachable_since == 0)
                j->unreachable_since = recorder_clock();
        if (recorder_clock() - j->unreachable_since > LOST_AFTER_USEC)
                return r;
        (void)event_add(j->retry, &RETRY);
        return -EAGAIN;
}

static int journal_send(JournalRecorder *j, const void *bytes, size_t n) {
        int r = journal_try(j, bytes, n);

        if (r == 0 || r == -EAGAIN || is_unreachable(r))
                recorder_found_room(&j->base, r == 0);
        return r;
}

static int journal_flush(JournalRecorder *j) {
        Kept *kept;

        while ((kept = STAILQ_FIRST(&j->kept))) {
                int r = journal_send(j, kept->bytes, kept->n);

                if (r == -EAGAIN || is_unreachable(r))
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

static int journal_keep(JournalRecorder *j, const Datagram *d) {
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

static int journal_write(Recorder *recorder, RecorderSession *session, const Record *record, bool keep) {
        JournalRecorder *j = (JournalRecorder *)recorder;
        Datagram d;
        int r = datagram_encode(record, &d);

        /* What was kept goes first: records stay in order. */
        if (r == 0)
                r = journal_flush(j) ?: journal_send(j, d.bytes, d.n);
        if (r == -EAGAIN && keep)
                r = journal_keep(j, &d);
        free(d.bytes);
        return r;
}

/* --------------------------------------------------- reading a start back */

static bool journal_has_start(JournalRecorder *j, const char *session) {
        char match[64];
        int r;

        if (!j->reader) {
                r = sd_journal_open(&j->reader, SD_JOURNAL_LOCAL_ONLY);
                if (r < 0) {
                        log_error("The journal cannot be read: %s", strerror(-r));
                        return false;
                }
                (void)sd_journal_get_fd(j->reader); /* from now on it notices new files */
        }
        (void)sd_journal_process(j->reader);
        sd_journal_flush_matches(j->reader);
        (void)snprintf(match, sizeof(match), "MANHOLE_SESSION=%s", session);
        if (sd_journal_add_match(j->reader, match, 0) < 0 ||
            sd_journal_add_match(j->reader, "MANHOLE_EVENT=start", 0) < 0)
                return false;
        (void)snprintf(match, sizeof(match), "_PID=%d", (int)getpid());
        return sd_journal_add_match(j->reader, match, 0) == 0 && sd_journal_seek_tail(j->reader) == 0 &&
               sd_journal_previous(j->reader) > 0;
}

static void journal_check_starts(void *userdata) {
        JournalRecorder *j = userdata;
        RecorderSession *session = TAILQ_FIRST(&j->base.sessions);
        bool waiting = false;

        while (session) {
                RecorderSession *next = TAILQ_NEXT(session, link);

                if (session->starting) {
                        if (journal_has_start(j, session->parties.session))
                                recorder_session_ready(session, 0);
                        else if (recorder_clock() - session->started > START_WITHIN_USEC)
                                recorder_session_ready(session, -ENODATA);
                        else
                                waiting = true;
                }
                session = next;
        }
        if (waiting)
                (void)event_add(j->retry, &RETRY);
}

static void journal_on_retry(evutil_socket_t fd, short what, void *userdata) {
        JournalRecorder *j = userdata;
        RecorderSession *session;

        (void)journal_flush(j);
        recorder_room(&j->base);
        TAILQ_FOREACH(session, &j->base.sessions, link)
                if (session->starting) {
                        journal_barrier_request(j->barrier);
                        return;
                }
}

static void journal_on_writable(evutil_socket_t fd, short what, void *userdata) {
        JournalRecorder *j = userdata;

        if (journal_flush(j) == 0)
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

static void journal_end(Recorder *recorder, RecorderSession *session) {
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
        journal_disconnect(j);
        if (j->retry)
                event_free(j->retry);
        journal_barrier_free(j->barrier);
        if (j->reader)
                sd_journal_close(j->reader);
        recorder_done(&j->base);
        free(j);
}

int recorder_journal_new(struct event_base *loop, Recorder **ret) {
        static const RecorderVTable vtable = { "journal", journal_begin, journal_write, journal_end,
                                               journal_free };
        JournalRecorder *j = calloc(1, sizeof(*j));

        if (!j)
                return -ENOMEM;
        recorder_init(&j->base, &vtable, vtable.name);
        j->loop = loop;
        j->fd = -1;
        STAILQ_INIT(&j->kept);
        j->retry = event_new(loop, -1, 0, journal_on_retry, j);
        if (!j->retry || journal_barrier_new(loop, journal_check_starts, j, &j->barrier) < 0) {
                journal_free(&j->base);
                return -ENOMEM;
        }
        *ret = &j->base;
        return 0;
}
