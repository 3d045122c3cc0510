/* SPDX-License-Identifier: BSD-2-Clause */

/* The module is compiled for this program with sockets in the test's folder, where a stand-in for
 * journald receives what is sent. */

#include "tests/unit/test.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>

#include "daemon/recorder.h"
#include "lib/cleanup.h"
#include "lib/container.h"
#include "tests/unit/scratch.h"

#define DATAGRAM_MAX 262144U
#define ID "0123456789abcdef"

typedef struct Scene {
        struct event_base *loop;
        struct event *deadline;
        Recorder *recorder;
        RecorderSession session;
        int journal;
        unsigned n_room, n_ready;
        int ready_error;
        bool stop_at_room;
} Scene;

static Scene *scene_of(RecorderSession *session) {
        return container_of(session, Scene, session);
}

static void on_ready(RecorderSession *session, int error) {
        Scene *s = scene_of(session);

        s->n_ready++;
        s->ready_error = error;
        session->starting = false;
        (void)event_base_loopbreak(s->loop);
}

static void on_room(RecorderSession *session) {
        Scene *s = scene_of(session);

        s->n_room++;
        if (s->stop_at_room)
                (void)event_base_loopbreak(s->loop);
}

static void give_up(evutil_socket_t fd, short what, void *userdata) {
        fail_msg("nothing came within 30 seconds");
}

static int journal_bind(void) {
        int fd;

        (void)unlink("journal");
        fd = scratch_bind("journal", SOCK_DGRAM);
        assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
        return fd;
}

static Scene *scene_new(void) {
        Scene *s = calloc(1, sizeof(*s));

        assert_non_null(s);
        s->loop = event_base_new();
        s->deadline = event_new(s->loop, -1, 0, give_up, NULL);
        assert_int_equal(event_add(s->deadline, &(struct timeval){ .tv_sec = 30 }), 0);
        s->journal = journal_bind();
        assert_int_equal(recorder_journal_new(s->loop, &s->recorder), 0);
        return s;
}

/* Begins a session; whether its start is kept does not matter here. */
static void begin(Scene *s) {
        static const RecordParties parties = { .session = ID, .client_uid = 1000, .client_user = "ann", .client_pid = 7,
                                               .target_pid = 42, .target_comm = "app" };

        assert_int_equal(recorder_begin(s->recorder, &s->session, &parties, NULL, on_ready, on_room), RECORDER_E_PENDING);
        s->session.starting = false;
}

static void scene_free(Scene *s) {
        recorder_end(&s->session, (Record){ .event = RECORD_END, .reason = "x" });
        recorder_free(s->recorder);
        fd_close(s->journal);
        event_free(s->deadline);
        event_base_free(s->loop);
        free(s);
}

/* ------------------------------------------------------ what journald reads */

/* The next datagram; *ret_n is 0 when there is none. */
static const uint8_t *receive(Scene *s, size_t *ret_n) {
        static uint8_t datagram[DATAGRAM_MAX];
        ssize_t n = recv(s->journal, datagram, sizeof(datagram), 0);

        assert_true(n > 0 || errno == EAGAIN);
        *ret_n = n > 0 ? (size_t)n : 0;
        return datagram;
}

/* The value of a field, by the native protocol alone; asserts that the field is there once. */
static const uint8_t *find(const uint8_t *datagram, size_t n, const char *name, size_t *ret_n) {
        const uint8_t *found = NULL;

        for (size_t at = 0; at < n;) {
                const uint8_t *line = datagram + at, *end = memchr(line, '\n', n - at), *equals, *value;
                size_t n_name, n_value;

                assert_non_null(end);
                equals = memchr(line, '=', (size_t)(end - line));
                if (equals) {
                        n_name = (size_t)(equals - line);
                        value = equals + 1;
                        n_value = (size_t)(end - value);
                } else {
                        n_name = (size_t)(end - line);
                        n_value = 0;
                        assert_true(n - at >= n_name + 1 + 8);
                        for (unsigned i = 0; i < 8; i++)
                                n_value |= (size_t)end[1 + i] << (8 * i);
                        value = end + 9;
                        assert_true(n_value < n - (size_t)(value - datagram));
                        assert_int_equal(value[n_value], '\n');
                }
                assert_true(n_name > 0);
                for (size_t i = 0; i < n_name; i++)
                        assert_true(line[i] == '_' || (line[i] >= 'A' && line[i] <= 'Z'));
                if (strlen(name) == n_name && memcmp(name, line, n_name) == 0) {
                        assert_null(found);
                        found = value;
                        *ret_n = n_value;
                }
                at = (size_t)(value + n_value + 1 - datagram);
        }
        return found;
}

static void assert_field(const uint8_t *datagram, size_t n, const char *name, const void *value, size_t n_value) {
        size_t n_found = 0;
        const uint8_t *found = find(datagram, n, name, &n_found);

        assert_non_null(found);
        assert_int_equal(n_found, n_value);
        assert_memory_equal(found, value, n_value);
}

#define assert_text(datagram, n, name, text) assert_field(datagram, n, name, text, sizeof(text) - 1)

/* The events of all datagrams that wait, a letter each. */
static const char *receive_events(Scene *s) {
        static char events[65536];
        size_t n_events = 0, n, n_value = 0;
        const uint8_t *datagram;

        while ((datagram = receive(s, &n)), n > 0) {
                const uint8_t *event = find(datagram, n, "MANHOLE_EVENT", &n_value);

                assert_non_null(event);
                assert_true(n_events + 1 < sizeof(events));
                events[n_events++] = (char)event[0];
        }
        events[n_events] = '\0';
        return events;
}

static int put(Scene *s, const void *data, size_t n) {
        return recorder_write(&s->session, (Record){ .event = RECORD_INPUT, .data = data, .n_data = n });
}

static void post(Scene *s, const char *socket) {
        RecordParties parties = { .target_pid = 5 };

        recorder_post(s->recorder, &(Record){ .event = RECORD_STALE, .parties = &parties, .socket = socket });
}

/* ------------------------------------------------------------------- tests */

static void a_record_is_a_datagram_of_the_native_protocol(void **state) {
        Scene *s = scene_new();
        const uint8_t *d;
        size_t n;

        begin(s);
        d = receive(s, &n);
        assert_text(d, n, "MANHOLE_EVENT", "start");
        assert_text(d, n, "MANHOLE_SESSION", ID);
        assert_text(d, n, "MANHOLE_SEQ", "0");
        assert_text(d, n, "MESSAGE_ID", "029ba6fe313e48319210947b4153b16a");
        assert_text(d, n, "PRIORITY", "5");
        assert_text(d, n, "OBJECT_PID", "42");
        assert_text(d, n, "SYSLOG_IDENTIFIER", "manholed");
        assert_int_equal(put(s, "1 + 1", 5), 0);
        d = receive(s, &n);
        assert_text(d, n, "MANHOLE_SEQ", "1");
        assert_text(d, n, "MANHOLE_DATA", "1 + 1");
        assert_int_equal(put(s, NULL, 0), 0);
        d = receive(s, &n);
        assert_text(d, n, "MANHOLE_DATA", "");
        scene_free(s);
}

static void no_data_can_forge_a_field(void **state) {
        static const char *const evil[] = {
                "x\nMANHOLE_EVENT=end\n_UID=0\n", "\n", "\n\n\n", "\nPRIORITY=0", "=\n", "MANHOLE_DATA\n\x01\0\0\0\0\0\0\0", "\x01\x00\n",
        };
        Scene *s = scene_new();
        char data[RECORD_DATA_MAX];
        const uint8_t *d;
        size_t n;

        begin(s);
        (void)receive(s, &n);
        for (size_t i = 0; i < sizeof(evil) / sizeof(*evil); i++) {
                size_t n_evil = strlen(evil[i]) + 1; /* with its NUL */

                assert_int_equal(put(s, evil[i], n_evil), 0);
                d = receive(s, &n);
                assert_field(d, n, "MANHOLE_DATA", evil[i], n_evil);
                assert_text(d, n, "MANHOLE_EVENT", "input");
                assert_text(d, n, "PRIORITY", "5");
                assert_null(find(d, n, "_UID", &n));
        }
        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (char)i;
        assert_int_equal(put(s, data, sizeof(data)), 0);
        d = receive(s, &n);
        assert_field(d, n, "MANHOLE_DATA", data, sizeof(data));
        scene_free(s);
}

/* Fills the socket; how many records it took. */
static unsigned fill(Scene *s) {
        unsigned n = 0;
        int r;

        while ((r = put(s, "x", 1)) == 0)
                n++;
        assert_int_equal(r, -EAGAIN);
        return n;
}

static void a_full_journal_says_so_and_tells_of_room(void **state) {
        Scene *s = scene_new();
        unsigned n;

        begin(s);
        n = fill(s);
        assert_true(n > 0);
        assert_int_equal(put(s, "y", 1), -EAGAIN);
        (void)event_base_loop(s->loop, EVLOOP_NONBLOCK);
        assert_int_equal(s->n_room, 0);
        assert_int_equal(strlen(receive_events(s)), 1 + n);
        s->stop_at_room = true;
        (void)event_base_dispatch(s->loop);
        assert_int_equal(s->n_room, 1);
        assert_int_equal(put(s, "y", 1), 0);
        assert_string_equal(receive_events(s), "i");
        scene_free(s);
}

static void what_cannot_wait_is_kept_and_goes_first(void **state) {
        Scene *s = scene_new();
        const uint8_t *d;
        size_t n;

        begin(s);
        n = fill(s);
        post(s, "/first");
        post(s, "/second");
        assert_int_equal(put(s, "third", 5), -EAGAIN);
        assert_true(recorder_state(s->recorder).queued_bytes > 0);
        assert_true(recorder_state(s->recorder).lag_usec > 0);
        (void)receive_events(s);
        assert_int_equal(put(s, "third", 5), 0); /* without a turn of the loop */
        assert_int_equal(recorder_state(s->recorder).queued_bytes, 0);
        assert_int_equal(recorder_state(s->recorder).lag_usec, 0);
        assert_int_equal(recorder_state(s->recorder).written, 1 + n + 3);
        assert_int_equal(recorder_state(s->recorder).lost, 0);
        d = receive(s, &n);
        assert_text(d, n, "MANHOLE_SOCKET", "/first");
        d = receive(s, &n);
        assert_text(d, n, "MANHOLE_SOCKET", "/second");
        d = receive(s, &n);
        assert_text(d, n, "MANHOLE_DATA", "third");
        scene_free(s);
}

static void what_is_kept_is_bounded(void **state) {
        static char socket[100000];
        RecordParties parties = { .target_pid = 5 };
        Record record = { .event = RECORD_STALE, .parties = &parties, .socket = socket };
        Scene *s = scene_new();
        size_t n = 0;
        int r;

        begin(s);
        (void)receive_events(s);
        (void)fill(s);
        memset(socket, 's', sizeof(socket) - 1);
        while ((r = s->recorder->vtable->write(s->recorder, NULL, &record, true)) == 0)
                n++;
        assert_int_equal(r, -ENOBUFS);
        assert_true(n * sizeof(socket) > 3U << 20 && n * sizeof(socket) <= 4U << 20);
        /* All of it still arrives: room comes as it is read. */
        s->stop_at_room = true;
        while (n > 0) {
                const char *events = receive_events(s);

                for (; *events; events++)
                        n -= *events == 's';
                (void)event_base_loop(s->loop, n > 0 ? EVLOOP_ONCE : EVLOOP_NONBLOCK);
        }
        scene_free(s);
}

static void a_record_that_is_never_taken_keeps_no_other_back(void **state) {
        static char socket[400000];
        Scene *s = scene_new();

        begin(s);
        (void)receive_events(s);
        (void)fill(s);
        memset(socket, 's', sizeof(socket) - 1);
        post(s, "/before");
        post(s, socket); /* longer than any datagram, which shows only when its turn comes */
        post(s, "/behind");
        (void)receive_events(s);
        s->stop_at_room = true;
        (void)event_base_dispatch(s->loop);
        assert_int_equal(recorder_state(s->recorder).lost, 1);
        assert_int_equal(put(s, "x", 1), 0);
        assert_string_equal(receive_events(s), "ssi");
        scene_free(s);
}

static void a_journal_that_was_started_again_is_found(void **state) {
        Scene *s = scene_new();

        begin(s);
        assert_string_equal(receive_events(s), "s");
        fd_close(s->journal);
        s->journal = journal_bind();
        assert_int_equal(put(s, "x", 1), 0);
        assert_string_equal(receive_events(s), "i");
        scene_free(s);
}

static void a_journal_that_is_away_for_a_moment_loses_nothing(void **state) {
        Scene *s = scene_new();

        begin(s);
        s->journal = fd_close(s->journal);
        assert_int_equal(unlink("journal"), 0);
        assert_int_equal(put(s, "x", 1), -EAGAIN);
        post(s, "/kept");
        (void)event_base_loop(s->loop, EVLOOP_ONCE); /* looks again, in vain */
        assert_int_equal(put(s, "x", 1), -EAGAIN);

        s->journal = journal_bind();
        s->stop_at_room = true;
        while (recv(s->journal, &(char){ 0 }, 1, MSG_PEEK) < 0)
                (void)event_base_loop(s->loop, EVLOOP_ONCE);
        assert_string_equal(receive_events(s), "s");
        assert_int_equal(put(s, "x", 1), 0);
        assert_string_equal(receive_events(s), "i");
        scene_free(s);
}

/* What the recorder asks on the journal's own Varlink socket, answered. */
static void answer_barrier(int listener) {
        static const char reply[] = "{\"parameters\":{}}";
        struct pollfd waits = { .fd = listener, .events = POLLIN };
        _cleanup_fd_ int fd = -1;
        char call[256];
        ssize_t n;

        assert_int_equal(poll(&waits, 1, 10000), 1);
        fd = accept(listener, NULL, NULL);
        assert_true(fd >= 0);
        n = recv(fd, call, sizeof(call), 0);
        assert_true(n > 0 && call[n - 1] == '\0');
        assert_string_equal(call, "{\"method\":\"io.systemd.Journal.Synchronize\"}");
        assert_int_equal(send(fd, reply, sizeof(reply), MSG_NOSIGNAL), sizeof(reply));
}

static void a_start_that_the_journal_does_not_keep_is_no_start(void **state) {
        static const RecordParties parties = { .session = ID, .target_pid = 42 };
        _cleanup_fd_ int varlink = scratch_bind("journal-varlink", SOCK_STREAM);
        Scene *s = scene_new();
        uint64_t began = recorder_clock();

        assert_int_equal(recorder_begin(s->recorder, &s->session, &parties, NULL, on_ready, on_room), RECORDER_E_PENDING);
        assert_true(s->session.starting);
        answer_barrier(varlink);
        /* Everything was taken, and nothing can be read back. */
        while (s->n_ready == 0)
                (void)event_base_loop(s->loop, EVLOOP_ONCE);
        assert_int_equal(s->n_ready, 1);
        assert_int_equal(s->ready_error, -ENODATA);
        assert_true(recorder_clock() - began > 2500000);
        assert_int_equal(s->n_room, 0); /* it never flowed */
        scene_free(s);
}

static void a_journal_that_stays_away_is_lost(void **state) {
        Scene *s = scene_new();
        uint64_t began = recorder_clock();
        int r;

        begin(s);
        s->journal = fd_close(s->journal);
        assert_int_equal(unlink("journal"), 0);
        while ((r = put(s, "x", 1)) == -EAGAIN)
                (void)event_base_loop(s->loop, EVLOOP_ONCE);
        assert_int_equal(r, -ENOENT);
        assert_true(recorder_clock() - began >= 5000000);
        /* What nobody can wait for is kept for when it comes back after all. */
        post(s, "/kept");
        s->journal = journal_bind();
        while (recv(s->journal, &(char){ 0 }, 1, MSG_PEEK) < 0)
                (void)event_base_loop(s->loop, EVLOOP_ONCE);
        assert_string_equal(receive_events(s), "s");
        assert_int_equal(put(s, "x", 1), 0);
        assert_string_equal(receive_events(s), "i");
        scene_free(s);
}

/* The test's own patience is 1.5 s. */
static void a_journal_that_stays_full_is_lost(void **state) {
        uint64_t began = recorder_clock();
        Scene *s = scene_new();
        int r;

        begin(s);
        (void)fill(s);
        while ((r = put(s, "y", 1)) == -EAGAIN)
                (void)event_base_loop(s->loop, EVLOOP_ONCE);
        assert_int_equal(r, -ETIMEDOUT);
        assert_true(recorder_clock() - began >= 1500000);
        assert_true(s->n_room > 0); /* that is when who waits hears of it */
        post(s, "/kept");
        (void)receive_events(s);
        s->stop_at_room = true;
        (void)event_base_dispatch(s->loop);
        assert_string_equal(receive_events(s), "s");
        assert_int_equal(put(s, "y", 1), 0);
        scene_free(s);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_record_is_a_datagram_of_the_native_protocol),
                cmocka_unit_test(no_data_can_forge_a_field),
                cmocka_unit_test(a_full_journal_says_so_and_tells_of_room),
                cmocka_unit_test(what_cannot_wait_is_kept_and_goes_first),
                cmocka_unit_test(what_is_kept_is_bounded),
                cmocka_unit_test(a_record_that_is_never_taken_keeps_no_other_back),
                cmocka_unit_test(a_journal_that_was_started_again_is_found),
                cmocka_unit_test(a_journal_that_is_away_for_a_moment_loses_nothing),
                cmocka_unit_test(a_start_that_the_journal_does_not_keep_is_no_start),
                cmocka_unit_test(a_journal_that_stays_away_is_lost),
                cmocka_unit_test(a_journal_that_stays_full_is_lost),
        };

        return cmocka_run_group_tests_name("recorder-journal", tests, scratch_enter, scratch_leave);
}
