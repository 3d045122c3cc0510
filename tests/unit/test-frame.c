/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <string.h>

#include "lib/frame.h"

static size_t put_frame(uint8_t *p, uint32_t type, uint32_t id, const char *payload) {
        size_t n = strlen(payload);

        frame_header_encode(&(FrameHeader){ .length = (uint32_t)n, .type = type, .id = id }, p);
        memcpy(p + FRAME_HEADER_SIZE, payload, n);
        return FRAME_HEADER_SIZE + n;
}

static void header_survives_the_wire(void **state) {
        FrameHeader in = { .length = 0x0a0b0c, .type = 0x80000001, .id = UINT32_MAX }, out;
        uint8_t bytes[FRAME_HEADER_SIZE];

        frame_header_encode(&in, bytes);
        assert_int_equal(bytes[0], 0x0c);
        assert_int_equal(frame_header_decode(bytes, &out), 0);
        assert_int_equal(out.length, in.length);
        assert_int_equal(out.type, in.type);
        assert_int_equal(out.id, in.id);
}

static void a_length_over_the_cap_is_an_error(void **state) {
        uint8_t bytes[FRAME_HEADER_SIZE] = { 0x01, 0x00, 0x10, 0x00 };
        FrameScanner s = FRAME_SCANNER_INIT;
        FrameHeader header;
        FramePiece piece;
        size_t used;

        assert_int_equal(frame_header_decode(bytes, &header), FRAME_E_TOO_LARGE);
        assert_int_equal(frame_scan(&s, bytes, sizeof(bytes), &used, &piece), FRAME_E_TOO_LARGE);
        bytes[0] = 0x00; /* exactly the cap */
        assert_int_equal(frame_header_decode(bytes, &header), 0);
}

/* Feeds the stream in pieces of @step bytes and rebuilds what was sent. */
static void scan_in_steps(size_t step) {
        uint8_t stream[128];
        size_t n = 0, n_frames = 0, n_text = 0;
        FrameScanner s = FRAME_SCANNER_INIT;
        char text[64] = {};

        n += put_frame(stream + n, 1, 7, "first");
        n += put_frame(stream + n, 2, 8, "");
        n += put_frame(stream + n, 3, 9, "third one");

        for (size_t at = 0; at < n;) {
                size_t used, chunk = n - at < step ? n - at : step;
                FramePiece piece;

                assert_int_equal(frame_scan(&s, stream + at, chunk, &used, &piece), 0);
                assert_in_range(used, 1, chunk);
                if (piece.n_data > 0) {
                        memcpy(text + n_text, piece.data, piece.n_data);
                        n_text += piece.n_data;
                }
                if (piece.ends) {
                        n_frames++;
                        assert_int_equal(piece.header.id, 6 + n_frames);
                        assert_true(frame_scanner_idle(&s));
                }
                at += used;
        }
        assert_int_equal(n_frames, 3);
        assert_string_equal(text, "firstthird one");
}

static void frames_are_found_however_the_stream_is_cut(void **state) {
        for (size_t step = 1; step < 64; step++)
                scan_in_steps(step);
}

static void a_header_cut_short_is_not_idle(void **state) {
        FrameScanner s = FRAME_SCANNER_INIT;
        FramePiece piece;
        size_t used;

        assert_true(frame_scanner_idle(&s));
        assert_int_equal(frame_scan(&s, (const uint8_t *)"\x01", 1, &used, &piece), 0);
        assert_false(piece.begins);
        assert_null(piece.data);
        assert_false(frame_scanner_idle(&s));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(header_survives_the_wire),
                cmocka_unit_test(a_length_over_the_cap_is_an_error),
                cmocka_unit_test(frames_are_found_however_the_stream_is_cut),
                cmocka_unit_test(a_header_cut_short_is_not_idle),
        };

        return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
