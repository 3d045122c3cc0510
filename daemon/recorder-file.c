/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Records as files, where there is no journal: one asciicast v2 a session
 * (https://docs.asciinema.org/manual/asciicast/v2/), which asciinema plays, and `events.jsonl` with
 * the records that frame sessions or belong to none. docs/RECORD.md describes both.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/cast.h"
#include "daemon/recorder.h"
#include "lib/cleanup.h"
#include "lib/fd.h"

/* events.jsonl gets a name of its own when it is so long, and a new one begins. */
#define EVENTS_BYTES_MAX (16U * 1024U * 1024U)
/* Old files are looked for when a session has ended, but not more often; and when none does. */
#define RETENTION_PAUSE_USEC (1000U * 1000U)
static const struct timeval RETENTION_EVERY = { .tv_sec = 3600 };

typedef struct FileRecorder {
        Recorder base;
        struct event *look; /* owned */
        uint64_t looked_at; /* recorder_clock() */
        char *where;        /* owned */
        int folder_fd;      /* owned */
        int events_fd;      /* owned: events.jsonl, append */
        CastText text;      /* of the record that is being written */
} FileRecorder;

typedef struct Cast {
        int fd;     /* owned */
        off_t size; /* nobody else writes to it */
} Cast;

/* Lines in one write: a reader who sees half of one sees that its end is missing. What a full disk took a
 * part of is taken back, or it would spoil the next. */
static int write_lines(int fd, const CastText *lines, off_t size) {
        int r = fd_write_all(fd, lines->bytes, lines->n);

        return r < 0 && ftruncate(fd, size) < 0 ? -errno : r;
}

static int events_open(FileRecorder *f) {
        int fd = openat(f->folder_fd, "events.jsonl", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
                        0600);

        if (fd < 0)
                return -errno;
        (void)fd_close(f->events_fd);
        f->events_fd = fd;
        return 0;
}

/* What cannot be done now is done with the next event. */
static void events_rotate(FileRecorder *f, const struct timespec *now) {
        char name[64];

        (void)snprintf(name, sizeof(name), "events-%010lld%06ld.jsonl", (long long)now->tv_sec,
                       now->tv_nsec / 1000);
        if (renameat(f->folder_fd, "events.jsonl", f->folder_fd, name) == 0)
                (void)events_open(f);
}

static int write_event(FileRecorder *f, const Record *record) {
        struct timespec now = {};
        struct stat before;
        int r;

        (void)clock_gettime(CLOCK_REALTIME, &now);
        r = cast_fields(&f->text, record, &now);
        if (r < 0)
                return r;
        if (fstat(f->events_fd, &before) < 0)
                return -errno;
        r = write_lines(f->events_fd, &f->text, before.st_size);
        if (r == 0 && before.st_size > EVENTS_BYTES_MAX)
                events_rotate(f, &now);
        return r;
}

static int write_cast(FileRecorder *f, Cast *cast, const Record *record) {
        int r = cast_event(&f->text, record) ?: write_lines(cast->fd, &f->text, cast->size);

        if (r == 0)
                cast->size += (off_t)f->text.n;
        return r;
}

/* Up to here the cast is written, and what is written counts. */
static void mark(RecorderSession *session) {
        const Cast *cast = session->destination;

        if (cast)
                session->mark = (uint64_t)cast->size;
}

static int file_write(Recorder *recorder, RecorderSession *session, const Record *record, bool keep) {
        FileRecorder *f = (FileRecorder *)recorder;
        Cast *cast = session ? session->destination : NULL;
        int r = 0;

        switch (record->event) {
        case RECORD_INPUT:
        case RECORD_OUTPUT:
        case RECORD_DROPPED:
                /* Without one: a session that could not be given one, and goes on all the same. */
                r = cast ? write_cast(f, cast, record) : -EBADF;
                break;
        default:
                if (cast)
                        r = write_cast(f, cast, record);
                r = write_event(f, record) ?: r;
        }
        if (r == 0 && session)
                mark(session);
        return r;
}

static void cast_name(const char *session, char ret[RECORD_SESSION_ID_MAX + 8]) {
        (void)snprintf(ret, RECORD_SESSION_ID_MAX + 8, "%.*s.cast", (int)RECORD_SESSION_ID_MAX, session);
}

static int file_begin(Recorder *recorder, RecorderSession *session, const Record *record) {
        FileRecorder *f = (FileRecorder *)recorder;
        _cleanup_free_ Cast *cast = calloc(1, sizeof(*cast));
        char name[RECORD_SESSION_ID_MAX + 8];
        _cleanup_fd_ int fd = -1;
        int r;

        if (!cast)
                return -ENOMEM;
        cast_name(record->parties->session, name);
        fd = openat(f->folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
                    0600);
        if (fd < 0)
                return -errno;
        retention_hold(fd);
        r = cast_header(&f->text, record, time(NULL)) ?: write_lines(fd, &f->text, 0);
        cast->size = (off_t)f->text.n;
        if (r == 0)
                r = write_event(f, record);
        if (r < 0) {
                (void)unlinkat(f->folder_fd, name, 0); /* there is no session */
                return r;
        }
        cast->fd = TAKE_FD(fd);
        session->destination = TAKE_PTR(cast);
        mark(session);
        return 0;
}

/* A record behind the mark was written by a process that could not say so any more. Nothing of it has
 * been forwarded, and it will be written again. */
static int file_resume(Recorder *recorder, RecorderSession *session) {
        FileRecorder *f = (FileRecorder *)recorder;
        _cleanup_free_ Cast *cast = calloc(1, sizeof(*cast));
        char name[RECORD_SESSION_ID_MAX + 8];
        _cleanup_fd_ int fd = -1;
        struct stat st;

        if (session->mark == 0) /* it never had one */
                return 0;
        if (!cast)
                return -ENOMEM;
        cast_name(session->parties.session, name);
        fd = openat(f->folder_fd, name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (uint64_t)st.st_size < session->mark)
                return -ESTALE;
        if (ftruncate(fd, (off_t)session->mark) < 0)
                return -errno;
        retention_hold(fd);
        cast->size = (off_t)session->mark;
        cast->fd = TAKE_FD(fd);
        session->destination = TAKE_PTR(cast);
        return 0;
}

static void file_look(FileRecorder *f) {
        RetentionLimits limits = f->base.rules.retention;

        if (limits.usec > 0 || limits.bytes > 0)
                retention_apply_later(f->folder_fd, limits);
        f->looked_at = recorder_clock();
}

static void file_on_look(evutil_socket_t fd, short what, void *userdata) {
        file_look(userdata);
}

/* When the loop turns: at the start not before sessions are taken over, and hold their files, and not at
 * all when they are left to the next manholed. */
static void file_look_later(FileRecorder *f) {
        event_active(f->look, EV_TIMEOUT, 0);
}

static void file_ruled(Recorder *recorder) {
        file_look_later((FileRecorder *)recorder);
}

static void file_end(Recorder *recorder, RecorderSession *session) {
        FileRecorder *f = (FileRecorder *)recorder;
        Cast *cast = session->destination;

        if (cast)
                (void)fd_close(cast->fd);
        free(cast);
        session->destination = NULL;
        if (recorder_clock() - f->looked_at > RETENTION_PAUSE_USEC)
                file_look_later(f);
}

static void file_free(Recorder *recorder) {
        FileRecorder *f = (FileRecorder *)recorder;

        if (f->look)
                event_free(f->look);
        (void)fd_close(f->folder_fd);
        (void)fd_close(f->events_fd);
        free(f->where);
        cast_text_done(&f->text);
        recorder_done(&f->base);
        free(f);
}

/* Makes the folder, and those above it, private to us. */
static int make_folder(const char *path) {
        _cleanup_free_ char *copy = strdup(path);

        if (!copy)
                return -ENOMEM;
        for (char *p = copy + 1;; p++) {
                char c = *p;

                if (c != '/' && c != '\0')
                        continue;
                *p = '\0';
                if (mkdir(copy, 0700) < 0 && errno != EEXIST)
                        return -errno;
                *p = c;
                if (c == '\0')
                        return 0;
        }
}

int recorder_file_new(struct event_base *loop, const char *folder, Recorder **ret) {
        static const RecorderVTable vtable = { "file",    file_begin, file_write, file_end,
                                               file_free, file_ruled, NULL,       file_resume };
        FileRecorder *f = calloc(1, sizeof(*f));
        int r;

        if (!f)
                return -ENOMEM;
        recorder_init(&f->base, &vtable, NULL);
        f->folder_fd = f->events_fd = -1;
        r = asprintf(&f->where, "file:%s", folder) < 0 ? -ENOMEM : make_folder(folder);
        if (r < 0)
                goto fail;
        f->base.destination = f->where;
        f->folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = f->folder_fd < 0 ? -errno : events_open(f);
        if (r < 0)
                goto fail;
        f->look = event_new(loop, -1, EV_PERSIST, file_on_look, f);
        if (!f->look || event_add(f->look, &RETENTION_EVERY) < 0) {
                r = -ENOMEM;
                goto fail;
        }
        *ret = &f->base;
        return 0;
fail:
        file_free(&f->base);
        return r;
}
