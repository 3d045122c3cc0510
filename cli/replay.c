/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/buffer.h"
#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/message.h"
#include "cli/output.h"
#include "lib/cleanup.h"

/* Nobody wants to watch somebody think. */
#define PAUSE_MAX (2 * USEC_PER_SEC)
/* What was typed, told from what was shown. */
#define BOLD "\x1b[1m"
#define NORMAL "\x1b[0m"

static void wait_for(uint64_t usec, double speed) {
        double left = (double)(usec < PAUSE_MAX ? usec : PAUSE_MAX) / speed;
        struct timespec ts = { .tv_sec = (time_t)(left / 1e6) };

        ts.tv_nsec = (long)((left - (double)ts.tv_sec * 1e6) * 1e3);
        (void)fflush(stdout);
        while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
                ;
}

int replay_play(const Logged *l, double speed) {
        bool colours = isatty(STDOUT_FILENO) == 1;
        uint64_t now = 0;
        Printer printer;
        int r = 0;

        printer_init(&printer, stdout);
        for (size_t i = 0; i < l->n && r == 0; i++) {
                const LoggedRecord *record = l->records + i;
                bool typed = record->kind == LOGGED_TYPED && colours;

                if (record->kind == LOGGED_OTHER || !record->data)
                        continue;
                if (record->seen.usec > now)
                        wait_for(record->seen.usec - now, speed);
                now = record->seen.usec;
                if (typed)
                        r = printer_write(&printer, BOLD, strlen(BOLD));
                if (r == 0)
                        r = printer_write(&printer, record->data, record->seen.size);
                if (r == 0 && typed)
                        r = printer_write(&printer, NORMAL, strlen(NORMAL));
        }
        (void)printer_finish(&printer);
        return EXIT_DONE; /* output_finish() says what could not be written */
}

/* A terminal's line ends. */
static void append_returns(Buffer *b, const char *data, size_t n) {
        for (size_t i = 0; i < n; i++) {
                if (data[i] == '\n' && (i == 0 || data[i - 1] != '\r'))
                        buffer_append(b, "\r", 1);
                buffer_append(b, data + i, 1);
        }
}

static int write_line(FILE *file, json_t *line) {
        int r = line ? json_dumpf(line, file, JSON_COMPACT) : -1;

        json_decref(line);
        return r < 0 || fputc('\n', file) == EOF ? -1 : 0;
}

static int write_event(FILE *file, const LoggedRecord *record) {
        _cleanup_(buffer_done) Buffer text = {};

        append_returns(&text, record->data, record->seen.size);
        return write_line(file, json_pack("[f, s, o]", (double)record->seen.usec / 1e6,
                                          record->kind == LOGGED_TYPED ? "i" : "o",
                                          json_bytes(text.data ?: "", text.n)));
}

static int write_all(const Logged *l, FILE *file) {
        int r = write_line(file, json_pack("{s:i, s:i, s:i, s:I}", "version", 2, "width", 80, "height", 24,
                                           "timestamp", (json_int_t)(l->since / USEC_PER_SEC)));

        for (size_t i = 0; i < l->n && r == 0; i++)
                if (l->records[i].kind != LOGGED_OTHER && l->records[i].data)
                        r = write_event(file, l->records + i);
        return r;
}

int replay_write_cast(const Logged *l, const char *path) {
        bool standard = strcmp(path, "-") == 0;
        /* What was typed is for few eyes; and nothing that is there is lost. */
        int r, fd = standard ? dup(STDOUT_FILENO)
                             : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

        if (!file) {
                message_error("cannot write %s: %s", path, strerror(errno));
                return EXIT_FAILED;
        }
        r = write_all(l, file);
        if (fclose(file) == EOF || r < 0) {
                message_error("cannot write %s: %s", path, strerror(errno));
                return EXIT_FAILED;
        }
        return EXIT_DONE;
}
