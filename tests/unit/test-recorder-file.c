/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>
#include <glob.h>
#include <jansson.h>
#include <signal.h>
#include <sys/resource.h>

#include "daemon/recorder-open.h"
#include "lib/cleanup.h"
#include "lib/fd.h"
#include "tests/unit/scratch.h"

#define ID "0123456789abcdef"

static struct event_base *loop;

static Recorder *open_folder(const char *name) {
        Recorder *r = NULL;
        char where[128];

        (void)snprintf(where, sizeof(where), "file:%s/%s", scratch, name);
        assert_int_equal(recorder_open(loop, where, &r), 0);
        assert_string_equal(r->destination, where);
        return r;
}

static void never_ready(RecorderSession *session, int error) {
        fail();
}

static void never_room(RecorderSession *session) {
        fail();
}

static void begin(Recorder *r, RecorderSession *session, const char *id, const char *reason) {
        RecordParties parties = { .session = id, .client_uid = 1000, .client_user = "ann", .client_pid = 77,
                                  .target_pid = 42, .target_uid = 33, .target_comm = "app", .target_unit = "web.service" };

        *session = (RecorderSession){};
        assert_int_equal(recorder_begin(r, session, &parties, reason, never_ready, never_room), 0);
}

static void put(RecorderSession *session, RecordEvent event, const char *frame, const void *data, size_t n) {
        assert_int_equal(recorder_write(session, (Record){ .event = event, .frame = frame, .data = data, .n_data = n }), 0);
}

#define put_text(session, event, frame, text) put(session, event, frame, text, sizeof(text) - 1)

static void end(RecorderSession *session, const char *reason) {
        recorder_end(session, (Record){ .event = RECORD_END, .reason = reason, .input_bytes = 1, .output_bytes = 2 });
}

/* All lines of a file as a JSON array; a line that is none is null. */
static json_t *read_lines(const char *path) {
        _cleanup_free_ char *text = NULL;
        json_t *lines = json_array();
        char *rest;
        size_t n;

        assert_int_equal(fd_read_file(AT_FDCWD, path, 16U << 20, &text, &n), 0);
        assert_int_equal(strlen(text), n);
        assert_true(n > 0 && text[n - 1] == '\n');
        text[n - 1] = '\0';
        rest = text;
        for (char *line; (line = strsep(&rest, "\n"));)
                json_array_append_new(lines, json_loads(line, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL) ?: json_null());
        return lines;
}

static const char *text_at(json_t *lines, size_t line, size_t column) {
        return json_string_value(json_array_get(json_array_get(lines, line), column));
}

static const char *field_at(json_t *lines, size_t line, const char *name) {
        return json_string_value(json_object_get(json_array_get(lines, line), name));
}

static void assert_event(json_t *lines, size_t line, const char *code, const char *text) {
        assert_int_equal(json_array_size(json_array_get(lines, line)), 3);
        assert_true(json_is_real(json_array_get(json_array_get(lines, line), 0)));
        assert_string_equal(text_at(lines, line, 1), code);
        assert_string_equal(text_at(lines, line, 2), text);
}

/* The record itself stands behind what a player shows of it. */
static void assert_record(json_t *lines, size_t line, const char *event, unsigned seq) {
        json_t *record = json_loads(text_at(lines, line, 2), 0, NULL);
        char number[16];

        assert_string_equal(text_at(lines, line, 1), "record");
        (void)snprintf(number, sizeof(number), "%u", seq);
        assert_string_equal(json_string_value(json_object_get(record, "MANHOLE_EVENT")), event);
        assert_string_equal(json_string_value(json_object_get(record, "MANHOLE_SEQ")), number);
        json_decref(record);
}

static void a_session_is_an_asciicast_with_its_start_in_the_header(void **state) {
        Recorder *r = open_folder("cast");
        RecorderSession session;
        json_t *lines, *header;
        double at = 0;

        begin(r, &session, ID, "ticket \"5\"\n");
        put_text(&session, RECORD_OUTPUT, NULL, ">>> ");
        put_text(&session, RECORD_INPUT, NULL, "1 + 1\n");
        put_text(&session, RECORD_OUTPUT, NULL, "2\n>>> ");
        end(&session, "closed by the client");
        recorder_free(r);

        lines = read_lines("cast/" ID ".cast");
        header = json_array_get(lines, 0);
        assert_int_equal(json_integer_value(json_object_get(header, "version")), 2);
        assert_true(json_integer_value(json_object_get(header, "width")) > 0);
        assert_true(json_integer_value(json_object_get(header, "height")) > 0);
        assert_true(json_integer_value(json_object_get(header, "timestamp")) > 1600000000);
        header = json_object_get(header, "manhole");
        assert_string_equal(json_string_value(json_object_get(header, "MANHOLE_EVENT")), "start");
        assert_string_equal(json_string_value(json_object_get(header, "MANHOLE_SESSION")), ID);
        assert_string_equal(json_string_value(json_object_get(header, "MANHOLE_CLIENT_UID")), "1000");
        assert_string_equal(json_string_value(json_object_get(header, "MANHOLE_REASON")), "ticket \"5\"\n");

        assert_event(lines, 1, "o", ">>> ");
        assert_event(lines, 2, "i", "1 + 1\r\n");
        assert_event(lines, 3, "o", "2\r\n>>> ");
        assert_event(lines, 4, "m", "end: closed by the client");
        assert_record(lines, 5, "end", 4);
        assert_int_equal(json_array_size(lines), 6);
        for (size_t i = 1; i < 6; i++) {
                double now = json_real_value(json_array_get(json_array_get(lines, i), 0));

                assert_true(now >= at);
                at = now;
        }
        json_decref(lines);
}

static void events_outside_and_around_sessions_are_lines_of_their_own(void **state) {
        RecordParties parties = { .client_uid = 1001, .client_user = "bob", .client_pid = 5, .target_pid = 42 };
        Recorder *r = open_folder("events");
        RecorderSession session;
        json_t *lines;
        int y, mo, d, h, m, s, us, n;

        recorder_post(r, &(Record){ .event = RECORD_DENIED, .parties = &parties, .reason = "no", .socket = "/tmp/manhole-42" });
        begin(r, &session, ID, NULL);
        put_text(&session, RECORD_INPUT, NULL, "secret");
        recorder_post(r, &(Record){ .event = RECORD_STALE, .parties = &parties, .socket = "/tmp/manhole-1" });
        end(&session, "closed by the target");
        recorder_free(r);

        lines = read_lines("events/events.jsonl");
        assert_int_equal(json_array_size(lines), 4);
        assert_string_equal(field_at(lines, 0, "MANHOLE_EVENT"), "denied");
        assert_string_equal(field_at(lines, 0, "MANHOLE_SOCKET"), "/tmp/manhole-42");
        assert_string_equal(field_at(lines, 1, "MANHOLE_EVENT"), "start");
        assert_string_equal(field_at(lines, 1, "MANHOLE_SEQ"), "0");
        assert_string_equal(field_at(lines, 2, "MANHOLE_EVENT"), "stale");
        assert_string_equal(field_at(lines, 3, "MANHOLE_EVENT"), "end");
        assert_string_equal(field_at(lines, 3, "MANHOLE_SEQ"), "2");
        assert_string_equal(field_at(lines, 3, "MANHOLE_OUTPUT_BYTES"), "2");
        for (size_t i = 0; i < 4; i++) {
                const char *time = field_at(lines, i, "TIME");

                n = 0;
                assert_int_equal(sscanf(time, "%4d-%2d-%2dT%2d:%2d:%2d.%6dZ%n", &y, &mo, &d, &h, &m, &s, &us, &n), 7);
                assert_int_equal(n, strlen(time));
                assert_int_equal(n, 27);
        }
        json_decref(lines);

        /* A later daemon adds to it. */
        r = open_folder("events");
        recorder_post(r, &(Record){ .event = RECORD_STALE, .parties = &parties, .socket = "/x" });
        recorder_free(r);
        lines = read_lines("events/events.jsonl");
        assert_int_equal(json_array_size(lines), 5);
        json_decref(lines);
}

static void frames_that_a_terminal_does_not_show_keep_their_kind(void **state) {
        Recorder *r = open_folder("frames");
        RecorderSession session;
        json_t *lines;

        begin(r, &session, ID, NULL);
        put_text(&session, RECORD_INPUT, "open", "stacks=no\n");
        put_text(&session, RECORD_OUTPUT, "prompt", ">>> ");
        put_text(&session, RECORD_INPUT, "input", "x\n");
        put_text(&session, RECORD_INPUT, "exec", "import os");
        put_text(&session, RECORD_OUTPUT, "output", "out");
        put_text(&session, RECORD_OUTPUT, "stderr", "err");
        put(&session, RECORD_INPUT, "interrupt", NULL, 0);
        put(&session, RECORD_INPUT, "input", NULL, 0);
        put_text(&session, RECORD_DROPPED, "dropped", "{\"bytes\":7}");
        put_text(&session, RECORD_OUTPUT, "answer", "{\xff}");
        end(&session, "x");
        recorder_free(r);

        lines = read_lines("frames/" ID ".cast");
        assert_event(lines, 1, "open", "stacks=no\r\n");
        assert_event(lines, 2, "o", ">>> ");
        assert_event(lines, 3, "i", "x\r\n");
        assert_event(lines, 4, "i", "import os");
        assert_event(lines, 5, "o", "out");
        assert_event(lines, 6, "o", "err");
        assert_event(lines, 7, "interrupt", "");
        assert_event(lines, 8, "i", "");
        assert_event(lines, 9, "dropped", "{\"bytes\":7}");
        assert_event(lines, 10, "answer", "{\xef\xbf\xbd}");
        assert_event(lines, 11, "xanswer", "7bff7d");
        json_decref(lines);
}

static void line_ends_and_broken_bytes_are_shown_and_kept_exactly(void **state) {
        Recorder *r = open_folder("exact");
        RecorderSession session;
        json_t *lines;

        begin(r, &session, ID, NULL);
        put_text(&session, RECORD_OUTPUT, NULL, "a\nb\n\nc");
        put_text(&session, RECORD_OUTPUT, NULL, "a\r\nb");
        put_text(&session, RECORD_OUTPUT, NULL, "50%\r51%");
        put_text(&session, RECORD_INPUT, NULL, "\xc3\xa4\xff\xc3");
        put_text(&session, RECORD_INPUT, NULL, "\xef\xbf\xbd"); /* U+FFFD itself */
        put_text(&session, RECORD_OUTPUT, NULL, "\x1b[31m\x07");
        end(&session, "x");
        recorder_free(r);

        lines = read_lines("exact/" ID ".cast");
        assert_event(lines, 1, "o", "a\r\nb\r\n\r\nc");
        assert_string_equal(text_at(lines, 2, 1), "o");
        assert_event(lines, 3, "xo", "610d0a62");
        assert_event(lines, 4, "o", "50%\r51%");
        assert_event(lines, 5, "xo", "3530250d353125");
        assert_event(lines, 6, "i", "\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd");
        assert_event(lines, 7, "xi", "c3a4ffc3");
        assert_event(lines, 8, "i", "\xef\xbf\xbd");
        assert_event(lines, 9, "o", "\x1b[31m\x07");
        assert_event(lines, 10, "m", "end: x");
        json_decref(lines);
}

/* As docs/RECORD.md says a reader does it. */
static size_t bytes_of(json_t *lines, size_t *line, char *ret) {
        json_t *text = json_array_get(json_array_get(lines, *line), 2);
        const char *code = text_at(lines, *line, 1), *next = text_at(lines, *line + 1, 1), *p = json_string_value(text);
        size_t n = 0, length = json_string_length(text);

        ++*line;
        if (next && next[0] == 'x' && strcmp(next + 1, code) == 0) {
                const char *hex = text_at(lines, *line, 2);

                for (; hex[2 * n]; n++) {
                        unsigned byte;

                        assert_int_equal(sscanf(hex + 2 * n, "%2x", &byte), 1);
                        ret[n] = (char)byte;
                }
                ++*line;
                return n;
        }
        for (size_t i = 0; i < length; i++)
                if (p[i] != '\r')
                        ret[n++] = p[i];
        return n;
}

static void every_byte_can_be_had_back(void **state) {
        static char data[64][RECORD_DATA_MAX], back[RECORD_DATA_MAX + 1];
        static size_t sizes[64];
        Recorder *r = open_folder("bytes");
        RecorderSession session;
        unsigned random = 1;
        size_t line = 1;
        json_t *lines;

        begin(r, &session, ID, NULL);
        for (size_t i = 0; i < 64; i++) {
                sizes[i] = i == 0 ? RECORD_DATA_MAX : i == 1 ? 0 : i * 5;
                for (size_t k = 0; k < sizes[i]; k++) {
                        random = random * 1103515245 + 12345;
                        /* Every byte; then text with line ends and NULs. */
                        data[i][k] = (char)(random >> 16);
                        if (i % 2)
                                data[i][k] = "a\nb\0\t\x7f\xc3\xa4"[random >> 16 & 7];
                }
                put(&session, i % 3 ? RECORD_OUTPUT : RECORD_INPUT, NULL, data[i], sizes[i]);
        }
        end(&session, "x");
        recorder_free(r);

        lines = read_lines("bytes/" ID ".cast");
        for (size_t i = 0; i < 64; i++) {
                assert_string_equal(text_at(lines, line, 1), i % 3 ? "o" : "i");
                assert_int_equal(bytes_of(lines, &line, back), sizes[i]);
                assert_memory_equal(back, data[i], sizes[i]);
        }
        assert_event(lines, line, "m", "end: x");
        json_decref(lines);
}

static void names_that_are_not_utf8_are_escaped(void **state) {
        RecordParties parties = { .client_user = "\xff\xfe", .client_pid = 1, .target_pid = 2, .target_comm = "a\nb" };
        Recorder *r = open_folder("names");
        json_t *lines;

        recorder_post(r, &(Record){ .event = RECORD_DENIED, .parties = &parties, .reason = "no\x80", .socket = "/\x80" });
        recorder_free(r);
        lines = read_lines("names/events.jsonl");
        assert_int_equal(json_array_size(lines), 1);
        assert_string_equal(field_at(lines, 0, "MANHOLE_CLIENT_USER"), "\\xff\\xfe");
        assert_string_equal(field_at(lines, 0, "MANHOLE_TARGET_COMM"), "a\nb");
        assert_string_equal(field_at(lines, 0, "MANHOLE_REASON"), "no\\x80");
        json_decref(lines);
}

static void sessions_side_by_side_have_a_file_each(void **state) {
        Recorder *r = open_folder("two");
        RecorderSession a, b;
        json_t *lines;

        begin(r, &a, "aaaaaaaaaaaaaaaa", NULL);
        begin(r, &b, "bbbbbbbbbbbbbbbb", NULL);
        put_text(&a, RECORD_INPUT, NULL, "to a");
        put_text(&b, RECORD_INPUT, NULL, "to b");
        end(&a, "x");
        put_text(&b, RECORD_INPUT, NULL, "more");
        end(&b, "x");
        end(&b, "x"); /* what has ended is idle */
        recorder_free(r);
        lines = read_lines("two/aaaaaaaaaaaaaaaa.cast");
        assert_int_equal(json_array_size(lines), 4);
        assert_event(lines, 1, "i", "to a");
        json_decref(lines);
        lines = read_lines("two/bbbbbbbbbbbbbbbb.cast");
        assert_int_equal(json_array_size(lines), 5);
        json_decref(lines);
        lines = read_lines("two/events.jsonl");
        assert_int_equal(json_array_size(lines), 4);
        json_decref(lines);
}

static mode_t mode_of(const char *path) {
        struct stat st;

        assert_int_equal(lstat(path, &st), 0);
        return st.st_mode & 07777;
}

static void nobody_else_can_read_what_is_recorded(void **state) {
        mode_t mask = umask(0);
        Recorder *r = open_folder("deep/er/folder");
        RecorderSession session;

        begin(r, &session, ID, NULL);
        end(&session, "x");
        recorder_free(r);
        (void)umask(mask);
        assert_int_equal(mode_of("deep"), 0700);
        assert_int_equal(mode_of("deep/er/folder"), 0700);
        assert_int_equal(mode_of("deep/er/folder/events.jsonl"), 0600);
        assert_int_equal(mode_of("deep/er/folder/" ID ".cast"), 0600);
}

static void a_record_is_never_written_over_or_through_a_link(void **state) {
        RecordParties parties = { .session = ID, .target_pid = 1 };
        Recorder *r = open_folder("links"), *other = NULL;
        RecorderSession session = {};
        unsigned before = scratch_open_fds();

        scratch_write("links/" ID ".cast", "old\n", 4);
        assert_int_equal(recorder_begin(r, &session, &parties, NULL, never_ready, never_room), -EEXIST);
        assert_null(session.recorder);
        assert_int_equal(unlink("links/" ID ".cast"), 0);
        assert_int_equal(symlink("elsewhere", "links/" ID ".cast"), 0);
        assert_int_equal(recorder_begin(r, &session, &parties, NULL, never_ready, never_room), -EEXIST);
        end(&session, "never began");
        assert_int_equal(scratch_open_fds(), before);
        recorder_free(r);

        assert_int_equal(mkdir("evil", 0700), 0);
        assert_int_equal(symlink("../elsewhere", "evil/events.jsonl"), 0);
        assert_int_equal(recorder_file_new(loop, "evil", &other), -ELOOP);
        assert_null(other);
        assert_int_equal(access("elsewhere", F_OK), -1);
}

static void a_folder_that_cannot_be_had_says_why(void **state) {
        unsigned before = scratch_open_fds();
        Recorder *r = NULL;

        scratch_write("file", "", 0);
        assert_int_equal(recorder_file_new(loop, "file", &r), -ENOTDIR);
        assert_int_equal(recorder_file_new(loop, "file/below", &r), -ENOTDIR);
        assert_int_equal(recorder_open(loop, "file:relative", &r), -EINVAL);
        assert_int_equal(recorder_open(loop, "file:", &r), -EINVAL);
        assert_int_equal(recorder_open(loop, "", &r), -EINVAL);
        assert_int_equal(recorder_open(loop, "nowhere", &r), -EINVAL);
        assert_null(r);
        assert_int_equal(scratch_open_fds(), before);
}

static void limit_file_size(rlim_t size) {
        struct rlimit limit;

        assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
        limit.rlim_cur = size;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static rlim_t size_of(const char *path) {
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        return (rlim_t)st.st_size;
}

static void half_a_line_on_a_full_disk_is_taken_back(void **state) {
        RecordParties parties = { .target_pid = 3 };
        Recorder *r = open_folder("full");
        RecorderSession session;
        json_t *lines;

        (void)signal(SIGXFSZ, SIG_IGN);
        begin(r, &session, ID, NULL);
        limit_file_size(size_of("full/" ID ".cast") + 10);
        for (unsigned i = 0; i < 2; i++)
                assert_int_equal(recorder_write(&session, (Record){ .event = RECORD_INPUT, .data = "lost", .n_data = 4 }), -EFBIG);
        limit_file_size(size_of("full/events.jsonl") + 10);
        recorder_post(r, &(Record){ .event = RECORD_STALE, .parties = &parties, .socket = "/lost" });
        limit_file_size(RLIM_INFINITY);
        put_text(&session, RECORD_INPUT, NULL, "kept");
        recorder_post(r, &(Record){ .event = RECORD_STALE, .parties = &parties, .socket = "/kept" });
        end(&session, "x");
        recorder_free(r);

        lines = read_lines("full/" ID ".cast");
        assert_int_equal(json_array_size(lines), 4);
        assert_event(lines, 1, "i", "kept");
        json_decref(lines);
        lines = read_lines("full/events.jsonl");
        assert_int_equal(json_array_size(lines), 3);
        assert_string_equal(field_at(lines, 1, "MANHOLE_SOCKET"), "/kept");
        assert_string_equal(field_at(lines, 2, "MANHOLE_SEQ"), "2"); /* the lost one had no number */
        json_decref(lines);
}

static void nothing_is_written_where_nothing_shall_be_recorded(void **state) {
        RecorderSession session;
        Recorder *r = NULL;

        assert_int_equal(recorder_open(loop, "none", &r), 0);
        assert_string_equal(r->destination, "none");
        begin(r, &session, ID, NULL);
        put_text(&session, RECORD_INPUT, NULL, "x");
        end(&session, "x");
        recorder_free(r);
        recorder_free(NULL);
}

static void events_that_are_many_begin_a_new_file(void **state) {
        static char socket[60000];
        RecordParties parties = { .target_pid = 5 };
        Recorder *r = open_folder("many");
        json_t *lines;
        unsigned n = 0;
        glob_t found = {};

        memset(socket, 's', sizeof(socket) - 1);
        while (n++ < 1000 && glob("many/events-*.jsonl", 0, NULL, &found) != 0)
                recorder_post(r, &(Record){ .event = RECORD_STALE, .parties = &parties, .socket = socket });
        assert_int_equal(found.gl_pathc, 1);
        assert_true(size_of(found.gl_pathv[0]) > 16 << 20);
        assert_int_equal(size_of("many/events.jsonl"), 0);
        recorder_post(r, &(Record){ .event = RECORD_STALE, .parties = &parties, .socket = "/x" });
        recorder_free(r);
        lines = read_lines("many/events.jsonl");
        assert_int_equal(json_array_size(lines), 1);
        json_decref(lines);
        globfree(&found);
}

static int enter(void **state) {
        loop = event_base_new();
        return loop ? scratch_enter(state) : -1;
}

static int leave(void **state) {
        event_base_free(loop);
        return scratch_leave(state);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_session_is_an_asciicast_with_its_start_in_the_header),
                cmocka_unit_test(events_outside_and_around_sessions_are_lines_of_their_own),
                cmocka_unit_test(frames_that_a_terminal_does_not_show_keep_their_kind),
                cmocka_unit_test(line_ends_and_broken_bytes_are_shown_and_kept_exactly),
                cmocka_unit_test(every_byte_can_be_had_back),
                cmocka_unit_test(names_that_are_not_utf8_are_escaped),
                cmocka_unit_test(sessions_side_by_side_have_a_file_each),
                cmocka_unit_test(nobody_else_can_read_what_is_recorded),
                cmocka_unit_test(a_record_is_never_written_over_or_through_a_link),
                cmocka_unit_test(a_folder_that_cannot_be_had_says_why),
                cmocka_unit_test(half_a_line_on_a_full_disk_is_taken_back),
                cmocka_unit_test(events_that_are_many_begin_a_new_file),
                cmocka_unit_test(nothing_is_written_where_nothing_shall_be_recorded),
        };

        return cmocka_run_group_tests_name("recorder-file", tests, enter, leave);
}
