/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A recorded session in a file of manholed's: an asciicast with a little more in it. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/exit-status.h"
#include "cli/logged.h"
#include "cli/message.h"
#include "lib/cleanup.h"

/* What a file does not say of each record: it follows from their order. */
typedef struct Reading {
        Logged *logged;
        uint64_t seq;
        uint64_t position[_RECORD_DIRECTION_MAX];
        size_t number; /* of the line */
} Reading;

static const char *get_member(const char *name, size_t *ret_n, void *userdata) {
        json_t *value = json_object_get(userdata, name);

        *ret_n = json_string_length(value);
        return json_string_value(value);
}

static bool add_fields(Reading *reading, json_t *fields) {
        if (!logged_add(reading->logged, get_member, fields))
                return false;
        reading->seq = reading->logged->records[reading->logged->n - 1].seen.seq + 1;
        return true;
}

static bool is_request(const char *code) {
        static const char *const requests[] = { "i",       "hello",  "open",  "interrupt", "complete",
                                                "history", "stacks", "tasks", "health" };

        for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
                if (strcmp(code, requests[i]) == 0)
                        return true;
        return false;
}

/* The bytes that a terminal's text stands for, unless an exact event follows. In place. */
static size_t without_returns(char *text, size_t n) {
        size_t k = 0;

        for (size_t i = 0; i < n; i++)
                if (text[i] != '\r' || i + 1 == n || text[i + 1] != '\n')
                        text[k++] = text[i];
        return k;
}

static void add_data(Reading *reading, double seconds, const char *code, json_t *text) {
        LoggedRecord *record = logged_append(reading->logged);
        RecordDirection d = is_request(code) ? RECORD_OF_INPUT : RECORD_OF_OUTPUT;
        size_t n = json_string_length(text);

        record->data = malloc(n + 1);
        if (!record->data)
                message_out_of_memory();
        memcpy(record->data, json_string_value(text), n);
        record->kind = strcmp(code, "i") == 0   ? LOGGED_TYPED
                       : strcmp(code, "o") == 0 ? LOGGED_SHOWN
                                                : LOGGED_OTHER;
        record->seen = (RecordSeen){
                .event = d == RECORD_OF_INPUT           ? RECORD_INPUT
                         : strcmp(code, "dropped") == 0 ? RECORD_DROPPED
                                                        : RECORD_OUTPUT,
                .seq = reading->seq++,
                .usec = (uint64_t)(seconds * 1e6 + 0.5),
                .position = reading->position[d],
                .size = without_returns(record->data, n),
        };
        reading->position[d] += record->seen.size;
}

static int digit(char c) {
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The exact bytes of the record before. False: not what manholed writes. */
static bool take_exact(Reading *reading, json_t *text) {
        LoggedRecord *record = reading->logged->records + reading->logged->n - 1;
        RecordDirection d = record->seen.event == RECORD_INPUT ? RECORD_OF_INPUT : RECORD_OF_OUTPUT;
        const char *hex = json_string_value(text);
        size_t n = json_string_length(text) / 2;

        if (!record->data || json_string_length(text) % 2 != 0 || n > RECORD_DATA_MAX)
                return false;
        free(record->data);
        record->data = malloc(n + 1);
        if (!record->data)
                message_out_of_memory();
        for (size_t i = 0; i < n; i++) {
                int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);

                if (high < 0 || low < 0)
                        return false;
                record->data[i] = (char)(high << 4 | low);
        }
        reading->position[d] += n - record->seen.size;
        record->seen.size = n;
        return true;
}

static bool take_event(Reading *reading, json_t *line) {
        const char *code = json_string_value(json_array_get(line, 1));
        json_t *text = json_array_get(line, 2), *fields;
        bool taken;

        if (!json_is_number(json_array_get(line, 0)) || !code || !json_is_string(text))
                return false;
        if (strcmp(code, "m") == 0) /* for players: the record itself follows */
                return true;
        if (code[0] == 'x')
                return take_exact(reading, text);
        if (strcmp(code, "record") != 0) {
                add_data(reading, json_number_value(json_array_get(line, 0)), code, text);
                return true;
        }
        fields = json_loadb(json_string_value(text), json_string_length(text), JSON_ALLOW_NUL, NULL);
        taken = fields && add_fields(reading, fields);
        json_decref(fields);
        return taken;
}

static bool take_header(Reading *reading, json_t *line) {
        reading->logged->since = (uint64_t)json_integer_value(json_object_get(line, "timestamp")) * 1000000U;
        return add_fields(reading, json_object_get(line, "manhole"));
}

static int read_lines(Reading *reading, const char *path, FILE *file) {
        _cleanup_free_ char *text = NULL;
        size_t allocated = 0;
        ssize_t n;

        while ((n = getline(&text, &allocated, file)) > 0) {
                json_t *line = json_loadb(text, (size_t)n, JSON_ALLOW_NUL, NULL);
                bool taken = line &&
                             (reading->number == 0 ? take_header(reading, line) : take_event(reading, line));

                json_decref(line);
                reading->number++;
                if (!taken) {
                        message_error("%s:%zu is not what manholed writes", path, reading->number);
                        return EXIT_FAILED;
                }
        }
        if (ferror(file)) {
                message_error("cannot read %s: %s", path, strerror(errno));
                return EXIT_FAILED;
        }
        if (reading->number == 0) {
                message_error("%s is empty", path);
                return EXIT_FAILED;
        }
        return EXIT_DONE;
}

int logged_from_cast(Logged *l, const char *path) {
        Reading reading = { .logged = l };
        FILE *file = fopen(path, "re");
        int r;

        if (!file) {
                r = errno;
                message_error("cannot open %s: %s", path, strerror(r));
                return r == ENOENT ? EXIT_NO_TARGET : EXIT_FAILED;
        }
        r = read_lines(&reading, path, file);
        (void)fclose(file);
        return r;
}
