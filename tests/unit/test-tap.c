/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/tap.h"
#include "lib/console.h"

#define STREAM_MAX 65536U

/* A stream of frames, and what of it is to be recorded. */
typedef struct Stream {
        uint8_t bytes[STREAM_MAX];
        size_t n;
        uint8_t payload[STREAM_MAX];
        size_t n_payload;
} Stream;

static void add_frame(Stream *s, uint32_t type, uint32_t id, const void *payload, size_t n) {
        assert_true(s->n + FRAME_HEADER_SIZE + n <= STREAM_MAX);
        frame_header_encode(&(FrameHeader){ .length = (uint32_t)n, .type = type, .id = id }, s->bytes + s->n);
        if (n > 0) {
                memcpy(s->bytes + s->n + FRAME_HEADER_SIZE, payload, n);
                memcpy(s->payload + s->n_payload, payload, n);
        }
        s->n += FRAME_HEADER_SIZE + n;
        s->n_payload += n;
}

#define add_text(s, type, text) add_frame(s, type, 1, text, sizeof(text) - 1)

/* What a tap said of a stream. */
typedef struct Heard {
        uint8_t data[STREAM_MAX];
        size_t n_data, n_records, n_empty;
        const char *last_frame;
        RecordEvent last_event;
} Heard;

static int listen_to(Tap *t, Heard *h, const uint8_t *bytes, size_t n) {
        while (n > 0) {
                TapPiece piece = {};
                size_t used = 0;

                if (tap_next(t, bytes, n, &used, &piece) != 0)
                        return TAP_E_PROTOCOL;
                assert_in_range(used, 1, n);
                assert_true(piece.n_data <= RECORD_DATA_MAX);
                assert_true(used <= RECORD_DATA_MAX);
                if (piece.record) {
                        if (piece.n_data > 0) {
                                /* It is of what was given, and no header byte is in it. */
                                assert_true(piece.data >= bytes && piece.data + piece.n_data <= bytes + used);
                                memcpy(h->data + h->n_data, piece.data, piece.n_data);
                        } else
                                h->n_empty++;
                        h->n_data += piece.n_data;
                        h->n_records++;
                        h->last_frame = piece.frame;
                        h->last_event = piece.event;
                } else
                        assert_int_equal(piece.n_data, 0);
                bytes += used;
                n -= used;
        }
        return 0;
}

static void in_the_plain_face_every_byte_is_recorded(void **state) {
        static uint8_t bytes[3 * RECORD_DATA_MAX + 1];

        for (unsigned from_client = 0; from_client < 2; from_client++) {
                Tap t = { .from_client = from_client };
                static Heard h;

                h = (Heard){};
                for (size_t i = 0; i < sizeof(bytes); i++)
                        bytes[i] = (uint8_t)i; /* frame-like ones among them */
                assert_int_equal(listen_to(&t, &h, bytes, sizeof(bytes)), 0);
                assert_int_equal(h.n_data, sizeof(bytes));
                assert_memory_equal(h.data, bytes, sizeof(bytes));
                assert_int_equal(h.n_records, 4);
                assert_null(h.last_frame);
                assert_int_equal(h.last_event, from_client ? RECORD_INPUT : RECORD_OUTPUT);
        }
}

static void payloads_are_found_wherever_the_stream_is_cut(void **state) {
        static Stream s;
        static Heard h;

        s = (Stream){};
        add_text(&s, CONSOLE_OPEN, "stacks=no\n");
        add_text(&s, CONSOLE_INPUT, "1 + 1\n");
        add_text(&s, CONSOLE_INTERRUPT, "");
        add_text(&s, CONSOLE_EXEC, "import os");
        for (size_t a = 0; a <= s.n; a++)
                for (size_t b = a; b <= s.n; b++) {
                        Tap t = { .framed = true, .from_client = true };

                        h.n_data = h.n_records = h.n_empty = 0;
                        assert_int_equal(listen_to(&t, &h, s.bytes, a), 0);
                        assert_int_equal(listen_to(&t, &h, s.bytes + a, b - a), 0);
                        assert_int_equal(listen_to(&t, &h, s.bytes + b, s.n - b), 0);
                        assert_int_equal(h.n_data, s.n_payload);
                        assert_memory_equal(h.data, s.payload, s.n_payload);
                        assert_int_equal(h.n_empty, 1);
                        assert_true(frame_scanner_idle(&t.scanner));
                }
}

static void every_kind_of_frame_has_its_name_and_event(void **state) {
        static const struct {
                const char *name;
                uint32_t type;
                RecordEvent event;
        } kinds[] = {
                { "hello", CONSOLE_HELLO, RECORD_INPUT },       { "open", CONSOLE_OPEN, RECORD_INPUT },
                { "input", CONSOLE_INPUT, RECORD_INPUT },       { "interrupt", CONSOLE_INTERRUPT, RECORD_INPUT },
                { "exec", CONSOLE_EXEC, RECORD_INPUT },         { "complete", CONSOLE_COMPLETE, RECORD_INPUT },
                { "history", CONSOLE_HISTORY, RECORD_INPUT },   { "stacks", CONSOLE_STACKS, RECORD_INPUT },
                { "tasks", CONSOLE_TASKS, RECORD_INPUT },       { "health", CONSOLE_HEALTH, RECORD_INPUT },
                { "answer", CONSOLE_ANSWER, RECORD_OUTPUT },    { "output", CONSOLE_OUTPUT, RECORD_OUTPUT },
                { "stderr", CONSOLE_STDERR, RECORD_OUTPUT },    { "prompt", CONSOLE_PROMPT, RECORD_OUTPUT },
                { "dropped", CONSOLE_DROPPED, RECORD_DROPPED }, { "end", CONSOLE_END, RECORD_OUTPUT },
        };
        static Stream s;
        static Heard h;

        for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
                bool from_client = kinds[i].type < _CONSOLE_REQUEST_MAX;
                Tap t = { .framed = true, .from_client = from_client };
                Tap other = { .framed = true, .from_client = !from_client };

                s = (Stream){};
                h = (Heard){};
                add_text(&s, kinds[i].type, "x");
                assert_int_equal(listen_to(&t, &h, s.bytes, s.n), 0);
                assert_string_equal(h.last_frame, kinds[i].name);
                assert_int_equal(h.last_event, kinds[i].event);
                assert_int_equal(h.n_records, 1);
                /* Nobody may speak as the other side. */
                assert_int_equal(listen_to(&other, &h, s.bytes, s.n), TAP_E_PROTOCOL);
        }
}

static void an_empty_request_is_recorded_and_an_empty_reply_is_not(void **state) {
        static Stream s;
        static Heard h;

        for (uint32_t type = CONSOLE_HELLO; type < _CONSOLE_REQUEST_MAX; type++) {
                Tap t = { .framed = true, .from_client = true };

                s = (Stream){};
                h = (Heard){};
                add_text(&s, type, "");
                assert_int_equal(listen_to(&t, &h, s.bytes, s.n), 0);
                assert_int_equal(h.n_records, 1);
                assert_int_equal(h.n_empty, 1);
                assert_non_null(h.last_frame);
        }
        for (uint32_t type = CONSOLE_ANSWER; type < _CONSOLE_REPLY_MAX; type++) {
                Tap t = { .framed = true };

                s = (Stream){};
                h = (Heard){};
                add_text(&s, type, "");
                assert_int_equal(listen_to(&t, &h, s.bytes, s.n), 0);
                assert_int_equal(h.n_records, 0);
        }
}

static void an_act_is_recorded_no_later_than_its_last_byte(void **state) {
        static Stream s;

        s = (Stream){};
        add_text(&s, CONSOLE_INTERRUPT, "");
        for (size_t cut = 0; cut < s.n; cut++) {
                Tap t = { .framed = true, .from_client = true };
                TapPiece piece;
                size_t used;

                if (cut > 0) {
                        assert_int_equal(tap_next(&t, s.bytes, cut, &used, &piece), 0);
                        assert_int_equal(used, cut);
                        assert_false(piece.record);
                }
                assert_int_equal(tap_next(&t, s.bytes + cut, s.n - cut, &used, &piece), 0);
                assert_int_equal(used, s.n - cut);
                assert_true(piece.record);
        }
}

static void a_type_that_a_direction_does_not_have_breaks_the_protocol(void **state) {
        static const uint32_t neither[] = { 0, 11, 100, 127, 134, 255, 256 + CONSOLE_INPUT, 0x7fffffff, 0x80000000, UINT32_MAX };
        static Stream s;
        static Heard h;

        for (size_t i = 0; i < sizeof(neither) / sizeof(*neither); i++)
                for (unsigned from_client = 0; from_client < 2; from_client++)
                        for (size_t n = 0; n < 2; n++) {
                                Tap t = { .framed = true, .from_client = from_client };

                                s = (Stream){};
                                h = (Heard){};
                                add_frame(&s, neither[i], 1, "x", n);
                                assert_int_equal(listen_to(&t, &h, s.bytes, s.n), TAP_E_PROTOCOL);
                                assert_int_equal(h.n_records, 0);
                        }
}

static void a_frame_over_the_cap_breaks_the_protocol_at_its_header(void **state) {
        static const uint8_t sizes[][4] = { { 1, 0, 16, 0 }, { 0xff, 0xff, 0xff, 0xff }, { 0, 0, 0, 1 } };

        for (size_t i = 0; i < 3; i++) {
                Tap t = { .framed = true, .from_client = true };
                uint8_t header[FRAME_HEADER_SIZE] = { [4] = CONSOLE_INPUT, [8] = 1 };
                TapPiece piece;
                size_t used;

                memcpy(header, sizes[i], 4);
                assert_int_equal(tap_next(&t, header, 11, &used, &piece), 0);
                assert_int_equal(tap_next(&t, header + 11, 1, &used, &piece), TAP_E_PROTOCOL);
        }
}

static void a_long_payload_comes_in_pieces_that_fit_a_record(void **state) {
        static uint8_t payload[5 * RECORD_DATA_MAX + 17];
        static Stream s;
        static Heard h;
        Tap t = { .framed = true, .from_client = true };

        for (size_t i = 0; i < sizeof(payload); i++)
                payload[i] = (uint8_t)(i * 13);
        s = (Stream){};
        h = (Heard){};
        add_frame(&s, CONSOLE_EXEC, 3, payload, sizeof(payload));
        add_text(&s, CONSOLE_INPUT, "y");
        assert_int_equal(listen_to(&t, &h, s.bytes, s.n), 0);
        assert_int_equal(h.n_records, 7);
        assert_memory_equal(h.data, s.payload, s.n_payload);
}

static void a_copy_that_is_put_back_says_the_same_again(void **state) {
        static Stream s;
        Tap t = { .framed = true, .from_client = true };
        size_t at = 0;

        s = (Stream){};
        add_text(&s, CONSOLE_OPEN, "stacks=no\n");
        add_text(&s, CONSOLE_INTERRUPT, "");
        add_text(&s, CONSOLE_INPUT, "abc");
        while (at < s.n) {
                size_t n = s.n - at < 5 ? s.n - at : 5, used, used_again;
                TapPiece piece, again;
                Tap before = t;

                assert_int_equal(tap_next(&t, s.bytes + at, n, &used, &piece), 0);
                t = before;
                assert_int_equal(tap_next(&t, s.bytes + at, n, &used_again, &again), 0);
                assert_int_equal(used, used_again);
                assert_int_equal(piece.record, again.record);
                assert_ptr_equal(piece.data, again.data);
                assert_int_equal(piece.n_data, again.n_data);
                assert_ptr_equal(piece.frame, again.frame);
                at += used;
        }
        assert_true(frame_scanner_idle(&t.scanner));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(in_the_plain_face_every_byte_is_recorded),
                cmocka_unit_test(payloads_are_found_wherever_the_stream_is_cut),
                cmocka_unit_test(every_kind_of_frame_has_its_name_and_event),
                cmocka_unit_test(an_empty_request_is_recorded_and_an_empty_reply_is_not),
                cmocka_unit_test(an_act_is_recorded_no_later_than_its_last_byte),
                cmocka_unit_test(a_type_that_a_direction_does_not_have_breaks_the_protocol),
                cmocka_unit_test(a_frame_over_the_cap_breaks_the_protocol_at_its_header),
                cmocka_unit_test(a_long_payload_comes_in_pieces_that_fit_a_record),
                cmocka_unit_test(a_copy_that_is_put_back_says_the_same_again),
        };

        return cmocka_run_group_tests_name("tap", tests, NULL, NULL);
}
