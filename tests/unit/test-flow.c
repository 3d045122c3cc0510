/* SPDX-License-Identifier: BSD-2-Clause */

/* A real loop and real sockets; the recorder is a stub that sees what has arrived when it records. */

#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "daemon/flow.h"
#include "lib/cleanup.h"
#include "lib/console.h"
#include "lib/container.h"
#include "lib/fd.h"

#define STREAM_MAX (8U * 1024U * 1024U)

/* The recorder. */
typedef struct Stub {
        Recorder base;
        int verdict;         /* of the next records */
        unsigned allow;      /* so many are taken before the verdict counts */
        int receiver;        /* where what is forwarded arrives */
        uint8_t *bytes;      /* what was recorded */
        size_t n_bytes, n_records;
        uint64_t next_position, seq;
        RecordEvent event;
        const char *frame;
} Stub;

typedef struct Scene {
        struct event_base *loop;
        Stub stub;
        RecorderSession session;
        Slate slate;
        Flow flow;
        int sender, from, to, receiver;
        unsigned n_ends;
        size_t n_seen; /* bytes */
        FlowEnd how;
        bool done_at_end;
} Scene;

static int stub_begin(Recorder *recorder, RecorderSession *session, const Record *record) {
        return 0;
}

static int stub_write(Recorder *recorder, RecorderSession *session, const Record *record, bool keep) {
        Stub *s = (Stub *)recorder;
        int arrived = 0;

        if (keep)
                return 0;
        assert_true(record->n_data <= RECORD_DATA_MAX);
        /* No byte has been forwarded that was not recorded. */
        assert_int_equal(ioctl(s->receiver, FIONREAD, &arrived), 0);
        assert_true((size_t)arrived <= s->n_bytes + FRAME_HEADER_SIZE * (s->n_records + 1));
        if (s->allow == 0 && s->verdict < 0)
                return s->verdict;
        if (s->allow > 0)
                s->allow--;
        assert_int_equal(record->position, s->next_position);
        assert_true(record->seq > s->seq);
        assert_true(s->n_bytes + record->n_data <= STREAM_MAX);
        if (record->n_data > 0)
                memcpy(s->bytes + s->n_bytes, record->data, record->n_data);
        s->n_bytes += record->n_data;
        s->next_position += record->n_data;
        s->seq = record->seq;
        s->event = record->event;
        s->frame = record->frame;
        s->n_records++;
        return 0;
}

static void stub_end(Recorder *recorder, RecorderSession *session) {
}

static void stub_free(Recorder *recorder) {
        free(((Stub *)recorder)->bytes);
        recorder_done(recorder);
}

static const RecorderVTable stub = { "stub", stub_begin, stub_write, stub_end, stub_free };

static void on_room(RecorderSession *session) {
        Scene *s = container_of(session, Scene, session);

        flow_resume(&s->flow);
}

static void on_end(Flow *flow, FlowEnd how, void *userdata) {
        Scene *s = userdata;

        assert_ptr_equal(flow, &s->flow);
        s->n_ends++;
        s->how = how;
        if (s->done_at_end)
                flow_done(flow); /* as a session does that ends with it */
}

static void on_seen(Flow *flow, const TapPiece *piece, void *userdata) {
        Scene *s = userdata;

        /* What is seen has been recorded. */
        assert_true(piece->n_data <= s->stub.n_bytes);
        s->n_seen += piece->n_data;
}

static const FlowHandler handler = { on_end, on_seen };

static Scene *scene_new(bool from_client, bool framed) {
        static const RecordParties parties = { .session = "x" };
        Scene *s = calloc(1, sizeof(*s));
        int in[2], out[2];

        assert_non_null(s);
        s->loop = event_base_new();
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, in), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, out), 0);
        s->sender = in[0];
        s->from = in[1];
        s->to = out[0];
        s->receiver = out[1];
        recorder_init(&s->stub.base, &stub, "stub");
        s->stub.bytes = malloc(STREAM_MAX);
        s->stub.receiver = s->receiver;
        assert_int_equal(recorder_begin(&s->stub.base, &s->session, &parties, NULL, NULL, on_room), 0);
        assert_int_equal(slate_init(&s->slate, false), 0);
        assert_int_equal(flow_init(&s->flow, s->loop, s->from, s->to, from_client, framed, &s->slate, &s->session, &handler, s), 0);
        return s;
}

static void scene_free(Scene *s) {
        flow_done(&s->flow);
        slate_done(&s->slate);
        recorder_end(&s->session, (Record){ .event = RECORD_END, .reason = "x" });
        recorder_free(&s->stub.base);
        fd_close(s->sender);
        fd_close(s->from);
        fd_close(s->to);
        fd_close(s->receiver);
        event_base_free(s->loop);
        free(s);
}

/* Everything that can happen now happens: sockets of one process have no delay. */
static void turn(Scene *s) {
        for (unsigned i = 0; i < 100; i++)
                assert_true(event_base_loop(s->loop, EVLOOP_NONBLOCK) >= 0);
}

static void say(Scene *s, const void *bytes, size_t n) {
        assert_int_equal(send(s->sender, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* Exactly these bytes have arrived. */
static void assert_arrived(Scene *s, const void *bytes, size_t n) {
        static uint8_t buffer[65536];
        ssize_t k = recv(s->receiver, buffer, sizeof(buffer), 0);

        if (n == 0) {
                assert_int_equal(k, -1);
                assert_int_equal(errno, EAGAIN);
                return;
        }
        assert_int_equal(k, (ssize_t)n);
        assert_memory_equal(buffer, bytes, n);
}

static void assert_recorded(Scene *s, const void *bytes, size_t n, size_t n_records) {
        assert_int_equal(s->stub.n_bytes, n);
        if (n > 0)
                assert_memory_equal(s->stub.bytes, bytes, n);
        assert_int_equal(s->stub.n_records, n_records);
        assert_int_equal(s->flow.facts.position, n);
        assert_int_equal(s->flow.facts.n_records, n_records);
        assert_int_equal(s->n_seen, n);
}

static size_t frame(uint8_t *ret, uint32_t type, const char *payload, size_t n) {
        frame_header_encode(&(FrameHeader){ .length = (uint32_t)n, .type = type, .id = 1 }, ret);
        if (n > 0)
                memcpy(ret + FRAME_HEADER_SIZE, payload, n);
        return FRAME_HEADER_SIZE + n;
}

/* ------------------------------------------------------------------ order */

static void nothing_is_read_before_the_start(void **state) {
        Scene *s = scene_new(true, false);

        say(s, "early", 5);
        turn(s);
        assert_recorded(s, "", 0, 0);
        flow_start(&s->flow);
        turn(s);
        assert_recorded(s, "early", 5, 1);
        assert_arrived(s, "early", 5);
        scene_free(s);
}

static void what_was_read_before_goes_first(void **state) {
        Scene *s = scene_new(true, false);

        say(s, "second", 6);
        assert_int_equal(flow_push(&s->flow, "first ", 6), 0);
        flow_start(&s->flow);
        turn(s);
        assert_recorded(s, "first second", 12, 2);
        assert_arrived(s, "first second", 12);
        assert_int_equal(s->stub.event, RECORD_INPUT);
        assert_null(s->stub.frame);
        scene_free(s);
}

static void a_long_read_is_recorded_in_pieces_before_it_is_forwarded(void **state) {
        static uint8_t bytes[15000];
        Scene *s = scene_new(false, false);

        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (uint8_t)(i * 7);
        flow_start(&s->flow);
        say(s, bytes, sizeof(bytes));
        turn(s); /* stub_write() looks at what has arrived */
        assert_recorded(s, bytes, sizeof(bytes), 4);
        assert_arrived(s, bytes, sizeof(bytes));
        assert_int_equal(s->stub.event, RECORD_OUTPUT);
        scene_free(s);
}

static void of_frames_the_payloads_are_recorded_and_all_is_forwarded(void **state) {
        Scene *s = scene_new(true, true);
        uint8_t bytes[256];
        size_t n = 0;

        n += frame(bytes + n, CONSOLE_OPEN, "stacks=no\n", 10);
        n += frame(bytes + n, CONSOLE_INTERRUPT, "", 0);
        n += frame(bytes + n, CONSOLE_INPUT, "1\n", 2);
        flow_start(&s->flow);
        for (size_t i = 0; i < n; i++) {
                say(s, bytes + i, 1);
                turn(s);
                assert_arrived(s, bytes + i, 1);
        }
        assert_int_equal(s->stub.n_bytes, 12);
        assert_memory_equal(s->stub.bytes, "stacks=no\n1\n", 12);
        assert_int_equal(s->stub.n_records, 13);
        assert_string_equal(s->stub.frame, "input");
        scene_free(s);
}

/* --------------------------------------------------------- a full recorder */

static void a_full_recorder_holds_bytes_back_until_it_has_room(void **state) {
        Scene *s = scene_new(true, false);

        s->stub.verdict = -EAGAIN;
        flow_start(&s->flow);
        say(s, "one", 3);
        turn(s);
        assert_arrived(s, "", 0);
        say(s, "two", 3);
        turn(s);
        flow_resume(&s->flow); /* still none */
        turn(s);
        assert_arrived(s, "", 0);
        assert_recorded(s, "", 0, 0);

        s->stub.verdict = 0;
        recorder_room(&s->stub.base);
        turn(s);
        assert_recorded(s, "onetwo", 6, 2);
        assert_arrived(s, "onetwo", 6);
        say(s, "three", 5);
        turn(s);
        assert_arrived(s, "three", 5);
        assert_int_equal(s->n_ends, 0);
        scene_free(s);
}

static void what_was_recorded_before_the_recorder_was_full_is_forwarded(void **state) {
        static char bytes[3 * RECORD_DATA_MAX];
        Scene *s = scene_new(true, false);

        memset(bytes, 'x', sizeof(bytes));
        s->stub.verdict = -EAGAIN;
        s->stub.allow = 1;
        flow_start(&s->flow);
        say(s, bytes, sizeof(bytes));
        turn(s);
        assert_recorded(s, bytes, RECORD_DATA_MAX, 1);
        assert_arrived(s, bytes, RECORD_DATA_MAX);
        s->stub.verdict = 0;
        recorder_room(&s->stub.base);
        turn(s);
        assert_recorded(s, bytes, sizeof(bytes), 3);
        assert_arrived(s, bytes, sizeof(bytes) - RECORD_DATA_MAX);
        scene_free(s);
}

static void a_frame_that_waits_for_room_is_recorded_once(void **state) {
        static char payload[3 * RECORD_DATA_MAX];
        static uint8_t bytes[sizeof(payload) + 100];
        size_t n = 0;

        for (size_t i = 0; i < sizeof(payload); i++)
                payload[i] = (char)(i * 11);
        n += frame(bytes + n, CONSOLE_INTERRUPT, "", 0);
        n += frame(bytes + n, CONSOLE_EXEC, payload, sizeof(payload));
        n += frame(bytes + n, CONSOLE_INTERRUPT, "", 0);
        for (unsigned allow = 0; allow < 5; allow++) {
                Scene *s = scene_new(true, true);

                s->stub.verdict = -EAGAIN;
                s->stub.allow = allow;
                flow_start(&s->flow);
                say(s, bytes, n);
                turn(s);
                for (unsigned i = 0; i < 3; i++) {
                        recorder_room(&s->stub.base);
                        turn(s);
                }
                s->stub.verdict = 0;
                recorder_room(&s->stub.base);
                turn(s);
                assert_recorded(s, payload, sizeof(payload), 5);
                assert_arrived(s, bytes, n);
                scene_free(s);
        }
}

static void a_flow_that_waits_for_nothing_is_not_moved_by_room(void **state) {
        Scene *s = scene_new(true, false);

        recorder_room(&s->stub.base); /* not even started */
        say(s, "x", 1);
        turn(s);
        assert_recorded(s, "", 0, 0);
        flow_start(&s->flow);
        recorder_room(&s->stub.base);
        turn(s);
        assert_arrived(s, "x", 1);
        scene_free(s);
}

/* -------------------------------------------------------------------- ends */

static void assert_ended(Scene *s, FlowEnd how) {
        turn(s);
        assert_int_equal(s->n_ends, 1);
        assert_int_equal(s->how, how);
        /* It is still: nothing more is read, recorded or said. */
        if (s->sender >= 0)
                (void)send(s->sender, "more", 4, MSG_NOSIGNAL);
        if (!s->done_at_end)
                flow_resume(&s->flow);
        turn(s);
        assert_int_equal(s->n_ends, 1);
}

static void an_end_of_file_is_passed_on_behind_the_last_byte(void **state) {
        Scene *s = scene_new(true, false);
        char c;

        flow_start(&s->flow);
        say(s, "last", 4);
        assert_int_equal(shutdown(s->sender, SHUT_WR), 0);
        assert_ended(s, FLOW_CLOSED);
        assert_arrived(s, "last", 4);
        assert_int_equal(recv(s->receiver, &c, 1, 0), 0);
        /* The other direction is none of its business. */
        assert_int_equal(send(s->receiver, "y", 1, MSG_NOSIGNAL), 1);
        assert_int_equal(recv(s->to, &c, 1, 0), 1);
        scene_free(s);
}

static void an_end_of_file_waits_for_the_recorder(void **state) {
        Scene *s = scene_new(true, false);

        s->stub.verdict = -EAGAIN;
        flow_start(&s->flow);
        say(s, "last", 4);
        turn(s);
        s->sender = fd_close(s->sender);
        turn(s);
        assert_int_equal(s->n_ends, 0);
        s->stub.verdict = 0;
        recorder_room(&s->stub.base);
        assert_ended(s, FLOW_CLOSED);
        assert_recorded(s, "last", 4, 1);
        assert_arrived(s, "last", 4);
        scene_free(s);
}

static void an_end_of_file_waits_for_a_slow_receiver(void **state) {
        static char bytes[60000], back[65536];
        Scene *s = scene_new(true, false);
        size_t n = 0;
        ssize_t k;

        assert_int_equal(setsockopt(s->to, SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int)), 0);
        memset(bytes, 'x', sizeof(bytes));
        flow_start(&s->flow);
        say(s, bytes, sizeof(bytes));
        assert_int_equal(shutdown(s->sender, SHUT_WR), 0);
        turn(s);
        assert_int_equal(s->n_ends, 0);
        do {
                turn(s);
                k = recv(s->receiver, back, sizeof(back), 0);
                n += k > 0 ? (size_t)k : 0;
        } while (k > 0);
        assert_int_equal(k, 0);
        assert_int_equal(n, sizeof(bytes));
        assert_int_equal(s->n_ends, 1);
        assert_int_equal(s->how, FLOW_CLOSED);
        scene_free(s);
}

static void a_sender_that_is_torn_away_ends_like_one_that_left(void **state) {
        Scene *s = scene_new(false, false);

        flow_start(&s->flow);
        say(s, "last words", 10);
        assert_int_equal(send(s->from, "unread", 6, MSG_NOSIGNAL), 6); /* makes it a reset */
        s->sender = fd_close(s->sender);
        assert_ended(s, FLOW_CLOSED);
        assert_recorded(s, "last words", 10, 1);
        assert_arrived(s, "last words", 10);
        scene_free(s);
}

static void a_receiver_that_is_gone_is_told(void **state) {
        Scene *s = scene_new(true, false);

        flow_start(&s->flow);
        s->stub.receiver = s->to;
        s->receiver = fd_close(s->receiver);
        say(s, "x", 1);
        assert_ended(s, FLOW_LOST);
        assert_recorded(s, "x", 1, 1); /* it was said all the same */
        scene_free(s);
}

static void a_broken_frame_ends_it_and_what_came_before_has_gone_through(void **state) {
        Scene *s = scene_new(true, true);
        uint8_t bytes[64];
        size_t n = frame(bytes, CONSOLE_INPUT, "fine", 4), n_good = n;

        n += frame(bytes + n, CONSOLE_OUTPUT, "forged", 6); /* a reply, from a client */
        flow_start(&s->flow);
        say(s, bytes, n);
        assert_ended(s, FLOW_PROTOCOL);
        assert_recorded(s, "fine", 4, 1);
        assert_arrived(s, bytes, n_good);
        scene_free(s);
}

static void a_lost_recorder_ends_it_and_no_unrecorded_byte_is_forwarded(void **state) {
        static char bytes[2 * RECORD_DATA_MAX];
        Scene *s = scene_new(true, false);

        s->stub.verdict = -EIO;
        s->stub.allow = 1;
        flow_start(&s->flow);
        say(s, bytes, sizeof(bytes));
        assert_ended(s, FLOW_UNRECORDED);
        assert_recorded(s, bytes, RECORD_DATA_MAX, 1);
        assert_arrived(s, bytes, RECORD_DATA_MAX);
        scene_free(s);
}

static void a_recorder_may_be_lost_while_a_flow_waits_for_it(void **state) {
        Scene *s = scene_new(true, false);

        s->stub.verdict = -EAGAIN;
        flow_start(&s->flow);
        say(s, "x", 1);
        turn(s);
        s->stub.verdict = -ENODATA;
        recorder_room(&s->stub.base);
        assert_ended(s, FLOW_UNRECORDED);
        assert_arrived(s, "", 0);
        scene_free(s);
}

static void whoever_is_told_of_the_end_may_be_done_with_it(void **state) {
        for (unsigned way = 0; way < 4; way++) {
                Scene *s = scene_new(true, way == 2);

                s->done_at_end = true;
                s->stub.verdict = way == 3 ? -EIO : 0;
                flow_start(&s->flow);
                if (way == 1) {
                        s->stub.receiver = s->to;
                        s->receiver = fd_close(s->receiver);
                }
                say(s, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
                if (way == 0)
                        assert_int_equal(shutdown(s->sender, SHUT_WR), 0);
                assert_ended(s, (FlowEnd[]){ FLOW_CLOSED, FLOW_LOST, FLOW_PROTOCOL, FLOW_UNRECORDED }[way]);
                scene_free(s);
        }
}

/* ----------------------------------------------------------- back-pressure */

/* Sends until nothing more is taken, and says how much that was. */
static size_t flood(Scene *s) {
        static uint8_t bytes[4096];
        size_t n = 0;
        ssize_t k;

        do {
                while (n < STREAM_MAX && (k = send(s->sender, bytes, sizeof(bytes), MSG_NOSIGNAL)) > 0)
                        n += (size_t)k;
                turn(s);
                k = send(s->sender, bytes, 1, MSG_NOSIGNAL);
                n += k > 0;
        } while (k > 0 && n < STREAM_MAX);
        return n;
}

/* All that has been sent; how much that was. */
static size_t receive_all(Scene *s) {
        static uint8_t buffer[65536];
        size_t arrived = 0;
        ssize_t k;

        do {
                while ((k = recv(s->receiver, buffer, sizeof(buffer), 0)) > 0)
                        arrived += (size_t)k;
                turn(s);
        } while (poll(&(struct pollfd){ .fd = s->receiver, .events = POLLIN }, 1, 0) == 1);
        return arrived;
}

static void a_slow_receiver_slows_the_sender_within_bounds(void **state) {
        Scene *s = scene_new(false, false);
        size_t n;

        flow_start(&s->flow);
        n = flood(s);
        /* The kernel's two buffers (about 200 kB each), and ours. */
        assert_true(n < 1024U * 1024U);
        assert_true(flow_unwritten(&s->flow) + flow_unrecorded(&s->flow) <= 65536 + 16384);
        assert_true(flow_unwritten(&s->flow) > 0);
        assert_int_equal(receive_all(s), n);
        assert_int_equal(s->stub.n_bytes, n);
        assert_int_equal(s->n_ends, 0);
        scene_free(s);
}

static void a_flood_takes_a_bounded_part_of_a_turn_of_the_loop(void **state) {
        Scene *s = scene_new(false, false);
        static uint8_t bytes[65536];

        say(s, bytes, sizeof(bytes));
        flow_start(&s->flow);
        for (size_t before = 0; before < sizeof(bytes); before = s->stub.n_bytes) {
                assert_true(event_base_loop(s->loop, EVLOOP_ONCE) >= 0);
                assert_in_range(s->stub.n_bytes - before, 1, 16384);
        }
        scene_free(s);
}

/* Pages of the slate that are in memory. */
static unsigned pages_of(const Scene *s) {
        static unsigned char there[sizeof(SlatePages)];
        unsigned n = 0;

        assert_int_equal(mincore(s->slate.pages, sizeof(SlatePages), there), 0);
        for (size_t i = 0; i < (sizeof(SlatePages) + 4095) / 4096; i++)
                n += there[i] & 1U;
        return n;
}

static void what_a_flood_has_filled_is_given_back_in_silence(void **state) {
        Scene *s = scene_new(false, false);
        unsigned before;

        flow_start(&s->flow);
        say(s, "one", 3);
        turn(s);
        assert_false(event_pending(s->flow.readable, EV_TIMEOUT, NULL));
        assert_arrived(s, "one", 3);
        before = pages_of(s);
        (void)flood(s);
        assert_true(pages_of(s) > before + 16);
        event_active(s->flow.readable, EV_TIMEOUT, 1);
        turn(s);
        assert_true(pages_of(s) > before + 16); /* something waits to be written */
        assert_false(event_pending(s->flow.readable, EV_TIMEOUT, NULL));
        receive_all(s);
        assert_true(event_pending(s->flow.readable, EV_TIMEOUT, NULL));
        event_active(s->flow.readable, EV_TIMEOUT, 1);
        turn(s);
        assert_true(pages_of(s) <= before);
        assert_false(event_pending(s->flow.readable, EV_TIMEOUT, NULL));
        say(s, "two", 3);
        turn(s);
        assert_arrived(s, "two", 3);
        scene_free(s);
}

static void a_full_recorder_slows_the_sender_within_bounds(void **state) {
        Scene *s = scene_new(true, false);
        size_t n;

        s->stub.verdict = -EAGAIN;
        flow_start(&s->flow);
        n = flood(s);
        assert_true(n < 512U * 1024U);
        assert_true(flow_unrecorded(&s->flow) <= 16384);
        assert_int_equal(s->stub.n_bytes, 0);
        scene_free(s);
}

static int enter(void **state) {
        return signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -1 : 0; /* as main() does */
}

/* ---------------------------------------------------------------- inserts */

static void what_is_inserted_waits_for_the_end_of_a_frame(void **state) {
        Scene *s = scene_new(false, true);
        uint8_t bytes[256], expected[256];
        size_t n = frame(bytes, CONSOLE_OUTPUT, "0123456789", 10), k;

        flow_start(&s->flow);
        say(s, bytes, n - 4);
        turn(s);
        flow_insert(&s->flow, CONSOLE_NOTICE, "{}", 2);
        turn(s);
        assert_arrived(s, bytes, n - 4);
        say(s, bytes + n - 4, 4);
        say(s, bytes, n);
        turn(s);
        memcpy(expected, bytes + n - 4, 4);
        frame_header_encode(&(FrameHeader){ .length = 2, .type = CONSOLE_NOTICE }, expected + 4);
        memcpy(expected + 4 + FRAME_HEADER_SIZE, "{}", 2);
        k = 4 + FRAME_HEADER_SIZE + 2;
        memcpy(expected + k, bytes, n);
        assert_arrived(s, expected, k + n);
        assert_int_equal(s->flow.facts.position, 22);
        assert_memory_equal(s->stub.bytes, "0123456789{}0123456789", 22);
        scene_free(s);
}

static void an_insert_stands_between_plain_bytes_and_is_recorded_as_a_notice(void **state) {
        Scene *s = scene_new(false, false);

        flow_start(&s->flow);
        say(s, "ab", 2);
        turn(s);
        flow_insert(&s->flow, CONSOLE_NOTICE, "[x]", 3);
        turn(s);
        assert_string_equal(s->stub.frame, "notice");
        say(s, "cd", 2);
        turn(s);
        assert_arrived(s, "ab[x]cd", 7);
        assert_int_equal(s->flow.facts.position, 7);
        assert_int_equal(s->flow.facts.n_records, 3);
        scene_free(s);
}

static void an_insert_waits_for_the_recorder_too(void **state) {
        Scene *s = scene_new(false, false);

        flow_start(&s->flow);
        s->stub.verdict = -EAGAIN;
        flow_insert(&s->flow, CONSOLE_NOTICE, "[x]", 3);
        turn(s);
        assert_arrived(s, "", 0);
        s->stub.verdict = 0;
        recorder_room(&s->stub.base);
        turn(s);
        assert_arrived(s, "[x]", 3);
        scene_free(s);
}

static void last_words_are_said_at_once_and_never_within_a_frame(void **state) {
        Scene *s = scene_new(false, true);
        uint8_t bytes[256];
        size_t n = frame(bytes, CONSOLE_OUTPUT, "0123456789", 10);
        uint8_t expected[FRAME_HEADER_SIZE + 2] = {};

        frame_header_encode(&(FrameHeader){ .length = 2, .type = CONSOLE_NOTICE }, expected);
        memcpy(expected + FRAME_HEADER_SIZE, "{}", 2);
        flow_start(&s->flow);
        flow_insert(&s->flow, CONSOLE_NOTICE, "{}", 2);
        flow_last_words(&s->flow);
        assert_arrived(s, expected, sizeof(expected));
        say(s, bytes, n - 4);
        turn(s);
        flow_insert(&s->flow, CONSOLE_NOTICE, "{}", 2);
        flow_last_words(&s->flow);
        assert_arrived(s, bytes, n - 4);
        scene_free(s);
}

static void inserts_that_wait_are_bounded(void **state) {
        Scene *s = scene_new(false, true);
        uint8_t bytes[256];
        size_t n = frame(bytes, CONSOLE_OUTPUT, "0123456789", 10);

        flow_start(&s->flow);
        say(s, bytes, n - 4);
        turn(s);
        for (unsigned i = 0; i < 1000; i++)
                flow_insert(&s->flow, CONSOLE_NOTICE, "{}", 2);
        say(s, bytes + n - 4, 4);
        turn(s);
        assert_true(s->flow.facts.position <= 10 + 2 * 16);
        assert_int_equal(s->flow.n_inserts, 0);
        scene_free(s);
}

/* ------------------------------------------------- others at the same flow */

static void without_a_receiver_it_is_recorded_and_goes_no_further(void **state) {
        static uint8_t bytes[300000];
        Scene *s = scene_new(false, false);

        flow_start(&s->flow);
        assert_int_equal(flow_set_to(&s->flow, s->loop, -1, NULL), 0);
        for (unsigned i = 0; i < 10; i++) {
                say(s, bytes, sizeof(bytes) / 10);
                turn(s);
        }
        assert_int_equal(s->stub.n_bytes, sizeof(bytes));
        assert_int_equal(s->n_ends, 0);
        assert_arrived(s, "", 0);
        scene_free(s);
}

static void another_receiver_goes_on_within_a_frame(void **state) {
        uint8_t bytes[256], expected[256], arrived[256];
        size_t n = frame(bytes, CONSOLE_OUTPUT, "0123456789", 10), k;
        ssize_t got;

        /* Wherever the first one went: the second reads whole frames. */
        for (size_t cut = 1; cut < n; cut++) {
                Scene *s = scene_new(false, true);
                struct evbuffer *first = evbuffer_new();

                flow_start(&s->flow);
                say(s, bytes, cut);
                turn(s);
                assert_arrived(s, bytes, cut);
                assert_int_equal(flow_set_to(&s->flow, s->loop, -1, NULL), 0);
                assert_int_equal(evbuffer_add(first, "first", 5), 0);
                assert_int_equal(flow_set_to(&s->flow, s->loop, s->to, first), 0);
                turn(s);
                got = recv(s->receiver, arrived, sizeof(arrived), 0);
                say(s, bytes + cut, n - cut);
                turn(s);
                got += recv(s->receiver, arrived + got, sizeof(arrived) - (size_t)got, 0);
                memcpy(expected, "first", 5);
                k = 5;
                if (cut <= FRAME_HEADER_SIZE)
                        k += frame(expected + k, CONSOLE_OUTPUT, "0123456789", 10);
                else
                        k += frame(expected + k, CONSOLE_OUTPUT, (const char *)bytes + cut, n - cut);
                assert_int_equal(got, k);
                assert_memory_equal(arrived, expected, k);
                assert_int_equal(s->stub.n_bytes, 10);
                evbuffer_free(first);
                scene_free(s);
        }
}

static void a_sender_that_goes_is_told_from_one_that_has_said_all(void **state) {
        Scene *s = scene_new(true, false);

        s->flow.holds = true;
        flow_start(&s->flow);
        say(s, "last", 4);
        s->sender = fd_close(s->sender);
        turn(s);
        assert_int_equal(s->n_ends, 1);
        assert_int_equal(s->how, FLOW_GONE);
        assert_arrived(s, "last", 4);
        /* Its end is not passed on, and another goes on. */
        assert_int_equal(flow_set_from(&s->flow, s->loop, -1), 0);
        turn(s);
        assert_arrived(s, "", 0);
        assert_int_equal(s->n_ends, 1);
        scene_free(s);

        s = scene_new(true, false);
        s->flow.holds = true;
        flow_start(&s->flow);
        assert_int_equal(shutdown(s->sender, SHUT_WR), 0);
        turn(s);
        assert_int_equal(s->how, FLOW_CLOSED);
        scene_free(s);
}

static void a_sender_that_goes_may_be_the_end_after_all(void **state) {
        Scene *s = scene_new(true, false);

        s->flow.holds = true;
        flow_start(&s->flow);
        s->sender = fd_close(s->sender);
        turn(s);
        assert_int_equal(s->how, FLOW_GONE);
        flow_end(&s->flow);
        assert_int_equal(s->how, FLOW_CLOSED);
        assert_int_equal(recv(s->receiver, (char[1]){}, 1, 0), 0);
        scene_free(s);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(nothing_is_read_before_the_start),
                cmocka_unit_test(what_was_read_before_goes_first),
                cmocka_unit_test(a_long_read_is_recorded_in_pieces_before_it_is_forwarded),
                cmocka_unit_test(of_frames_the_payloads_are_recorded_and_all_is_forwarded),
                cmocka_unit_test(a_full_recorder_holds_bytes_back_until_it_has_room),
                cmocka_unit_test(what_was_recorded_before_the_recorder_was_full_is_forwarded),
                cmocka_unit_test(a_frame_that_waits_for_room_is_recorded_once),
                cmocka_unit_test(a_flow_that_waits_for_nothing_is_not_moved_by_room),
                cmocka_unit_test(an_end_of_file_is_passed_on_behind_the_last_byte),
                cmocka_unit_test(an_end_of_file_waits_for_the_recorder),
                cmocka_unit_test(an_end_of_file_waits_for_a_slow_receiver),
                cmocka_unit_test(a_sender_that_is_torn_away_ends_like_one_that_left),
                cmocka_unit_test(a_receiver_that_is_gone_is_told),
                cmocka_unit_test(a_broken_frame_ends_it_and_what_came_before_has_gone_through),
                cmocka_unit_test(a_lost_recorder_ends_it_and_no_unrecorded_byte_is_forwarded),
                cmocka_unit_test(a_recorder_may_be_lost_while_a_flow_waits_for_it),
                cmocka_unit_test(whoever_is_told_of_the_end_may_be_done_with_it),
                cmocka_unit_test(a_slow_receiver_slows_the_sender_within_bounds),
                cmocka_unit_test(a_flood_takes_a_bounded_part_of_a_turn_of_the_loop),
                cmocka_unit_test(what_a_flood_has_filled_is_given_back_in_silence),
                cmocka_unit_test(a_full_recorder_slows_the_sender_within_bounds),
                cmocka_unit_test(what_is_inserted_waits_for_the_end_of_a_frame),
                cmocka_unit_test(an_insert_stands_between_plain_bytes_and_is_recorded_as_a_notice),
                cmocka_unit_test(an_insert_waits_for_the_recorder_too),
                cmocka_unit_test(last_words_are_said_at_once_and_never_within_a_frame),
                cmocka_unit_test(inserts_that_wait_are_bounded),
                cmocka_unit_test(without_a_receiver_it_is_recorded_and_goes_no_further),
                cmocka_unit_test(another_receiver_goes_on_within_a_frame),
                cmocka_unit_test(a_sender_that_goes_is_told_from_one_that_has_said_all),
                cmocka_unit_test(a_sender_that_goes_may_be_the_end_after_all),
        };

        return cmocka_run_group_tests_name("flow", tests, enter, NULL);
}
