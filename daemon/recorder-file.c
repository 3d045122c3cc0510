/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Records as files, where there is no journal: one asciicast v2 a session
 * (https://docs.asciinema.org/manual/asciicast/v2/), which asciinema plays, and `events.jsonl` with
 * the records that frame sessions or belong to none. docs/RECORD.md describes both.
 */

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/recorder.h"
#include "lib/cleanup.h"
#include "lib/escape.h"
#include "lib/fd.h"

typedef struct FileRecorder {
        Recorder base;
        char *where;   /* owned */
        int folder_fd; /* owned */
        int events_fd; /* owned: events.jsonl, append */
} FileRecorder;

typedef struct Cast {
        int fd; /* owned */
} Cast;

/* What a full disk took a part of is taken back: half a line would spoil the next one. */
static int take_back(int fd, const struct stat *before, int error) {
        if (error < 0 && ftruncate(fd, before->st_size) < 0)
                return -errno;
        return error;
}

/* One line, in one write: a reader never sees half of it. */
static int write_line_consume(int fd, json_t *line) {
        _cleanup_free_ char *text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
        struct stat before;
        size_t n;

        json_decref(line);
        if (!text)
                return -ENOMEM;
        if (fstat(fd, &before) < 0)
                return -errno;
        n = strlen(text);
        text[n] = '\n'; /* in place of the NUL */
        return take_back(fd, &before, fd_write_all(fd, text, n + 1));
}

static int add_field(const char *name, const void *data, size_t n_data, void *userdata) {
        json_t *object = userdata, *value = json_stringn(data, n_data);
        char escaped[1024];

        if (!value) { /* not UTF-8 */
                (void)escape_text(escaped, sizeof(escaped), data, n_data);
                value = json_string(escaped);
        }
        return json_object_set_new(object, name, value) < 0 ? -ENOMEM : 0;
}

static json_t *record_json(const Record *record) {
        json_t *object = json_object();

        if (object && record_fields(record, add_field, object) < 0) {
                json_decref(object);
                return NULL;
        }
        return object;
}

static int write_event(FileRecorder *f, const Record *record) {
        json_t *object = record_json(record);
        struct timespec now = {};
        struct tm tm;
        char time[40];
        size_t n;

        (void)clock_gettime(CLOCK_REALTIME, &now);
        (void)gmtime_r(&now.tv_sec, &tm);
        n = strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &tm);
        (void)snprintf(time + n, sizeof(time) - n, ".%06ldZ", now.tv_nsec / 1000);
        if (object)
                (void)json_object_set_new(object, "TIME", json_string(time));
        return write_line_consume(f->events_fd, object);
}

/*
 * Console bytes as an asciicast's text: line ends as a terminal needs them, bytes that are not
 * UTF-8 as U+FFFD. *ret_exact says whether the bytes can be told from the text.
 */
static json_t *cast_text(const char *data, size_t n, bool *ret_exact) {
        _cleanup_free_ char *text = malloc(n * 3 + 1);
        size_t k = 0;

        *ret_exact = true;
        if (!text)
                return NULL;
        while (n > 0) {
                size_t length = utf8_length(data, n, NULL);

                if (length == 0) {
                        *ret_exact = false;
                        k += (size_t)sprintf(text + k, "\xef\xbf\xbd");
                        length = 1;
                } else {
                        if (*data == '\r')
                                *ret_exact = false;
                        if (*data == '\n')
                                text[k++] = '\r';
                        memcpy(text + k, data, length);
                        k += length;
                }
                data += length;
                n -= length;
        }
        return json_stringn(text, k);
}

/* Bytes that a reader could not tell from the text before: the code with an x, and hexadecimal. */
static int write_exact(Cast *cast, double seconds, const char *code, const uint8_t *data, size_t n) {
        _cleanup_free_ char *hex = malloc(n * 2 + 1);
        char exact[32];

        if (!hex)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                (void)sprintf(hex + 2 * i, "%02x", data[i]);
        (void)snprintf(exact, sizeof(exact), "x%s", code);
        return write_line_consume(cast->fd, json_pack("[f, s, s]", seconds, exact, hex));
}

/* What a terminal showed or a person typed has asciicast's own codes; players pass over others. */
static const char *cast_code(const Record *record) {
        static const char *const shown[] = { "output", "stderr", "prompt", "input", "exec" };

        if (!record->frame)
                return record->event == RECORD_INPUT ? "i" : "o";
        for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++)
                if (strcmp(record->frame, shown[i]) == 0)
                        return record->event == RECORD_INPUT ? "i" : "o";
        return record->frame;
}

static int write_data(Cast *cast, const Record *record) {
        const char *code = cast_code(record);
        double seconds = (double)record->usec / 1e6;
        struct stat before;
        bool exact;
        json_t *text = cast_text(record->data, record->n_data, &exact);
        int r = fstat(cast->fd, &before) < 0 ? -errno : 0;

        if (r < 0) {
                json_decref(text);
                return r;
        }
        r = write_line_consume(cast->fd, json_pack("[f, s, o]", seconds, code, text));
        if (r == 0 && !exact)
                r = write_exact(cast, seconds, code, record->data, record->n_data);
        /* The text without its bytes would be a record of what was never forwarded. */
        return take_back(cast->fd, &before, r);
}

/* A marker, which players show as such. */
static int write_marker(Cast *cast, const Record *record) {
        const char *about = record->actor ? record->actor->user : record->reason;
        char text[128], label[256];

        escape_text(text, sizeof(text), about ?: "", strlen(about ?: ""));
        (void)snprintf(label, sizeof(label), "%s%s%s", record_event_name(record->event), about ? ": " : "", text);
        return write_line_consume(cast->fd, json_pack("[f, s, s]", (double)record->usec / 1e6, "m", label));
}

/* The record itself, so that the file alone can be held against it. */
static int write_fields(Cast *cast, const Record *record) {
        json_t *object = record_json(record);
        _cleanup_free_ char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

        json_decref(object);
        if (!text)
                return -ENOMEM;
        return write_line_consume(cast->fd, json_pack("[f, s, s]", (double)record->usec / 1e6, "record", text));
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
                return cast ? write_data(cast, record) : -EBADF;
        default:
                break;
        }
        if (cast)
                r = write_marker(cast, record) ?: write_fields(cast, record);
        return write_event(f, record) ?: r;
}

static int file_begin(Recorder *recorder, RecorderSession *session, const Record *record) {
        FileRecorder *f = (FileRecorder *)recorder;
        _cleanup_free_ Cast *cast = calloc(1, sizeof(*cast));
        char name[RECORD_SESSION_ID_MAX + 8];
        _cleanup_fd_ int fd = -1;
        int r;

        if (!cast)
                return -ENOMEM;
        (void)snprintf(name, sizeof(name), "%.*s.cast", (int)RECORD_SESSION_ID_MAX, record->parties->session);
        fd = openat(f->folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        r = write_line_consume(fd, json_pack("{s:i, s:i, s:i, s:I, s:o}", "version", 2, "width", 80, "height", 24,
                                             "timestamp", (json_int_t)time(NULL), "manhole", record_json(record)));
        if (r == 0)
                r = write_event(f, record);
        if (r < 0) {
                (void)unlinkat(f->folder_fd, name, 0); /* there is no session */
                return r;
        }
        cast->fd = TAKE_FD(fd);
        session->destination = TAKE_PTR(cast);
        return 0;
}

static void file_end(Recorder *recorder, RecorderSession *session) {
        Cast *cast = session->destination;

        if (cast)
                (void)fd_close(cast->fd);
        free(cast);
        session->destination = NULL;
}

static void file_free(Recorder *recorder) {
        FileRecorder *f = (FileRecorder *)recorder;

        (void)fd_close(f->folder_fd);
        (void)fd_close(f->events_fd);
        free(f->where);
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

int recorder_file_new(const char *folder, Recorder **ret) {
        static const RecorderVTable vtable = { "file", file_begin, file_write, file_end, file_free };
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
        if (f->folder_fd >= 0)
                f->events_fd = openat(f->folder_fd, "events.jsonl",
                                      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (f->events_fd < 0) {
                r = -errno;
                goto fail;
        }
        *ret = &f->base;
        return 0;
fail:
        file_free(&f->base);
        return r;
}
