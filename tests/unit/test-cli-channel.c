/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/channel.h"
#include "lib/fd.h"

typedef struct Fixture {
        Channel channel;
        int peer;
        uint32_t types[8], ids[8];
        char text[256]; /* payloads, each ended by '|' */
        size_t n_frames;
} Fixture;

static void open_pair(Fixture *f, bool framed, const char *rest, size_t n_rest) {
        int fds[2];

        *f = (Fixture){};
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(fd_set_nonblock(fds[0], true), 0);
        channel_init_consume(&f->channel, fds[0], framed, rest, n_rest);
        f->peer = fds[1];
}

static void close_pair(Fixture *f) {
        channel_done(&f->channel);
        (void)close(f->peer);
}

static void note(void *userdata, uint32_t type, uint32_t id, const char *payload, size_t n) {
        Fixture *f = userdata;
        size_t at = strlen(f->text);

        assert_in_range(f->n_frames, 0, 7);
        f->types[f->n_frames] = type;
        f->ids[f->n_frames++] = id;
        memcpy(f->text + at, payload, n);
        f->text[at + n] = '|';
}

static size_t put(char *p, uint32_t type, uint32_t id, const char *payload) {
        FrameHeader header = { .length = (uint32_t)strlen(payload), .type = type, .id = id };

        frame_header_encode(&header, (uint8_t *)p);
        memcpy(p + FRAME_HEADER_SIZE, payload, header.length);
        return FRAME_HEADER_SIZE + header.length;
}

static void frames_arrive_whole_however_they_are_cut(void **state) {
        char stream[128];
        size_t n = 0;
        Fixture f;

        n += put(stream + n, CONSOLE_OUTPUT, 1, "first");
        n += put(stream + n, CONSOLE_PROMPT, 1, "");
        n += put(stream + n, CONSOLE_END, 2, "last");
        open_pair(&f, true, stream, 3); /* the beginning came with the daemon's reply */
        assert_true(channel_ready(&f.channel));
        assert_int_equal(channel_read(&f.channel, note, &f), 0);
        assert_false(channel_ready(&f.channel));
        for (size_t i = 3; i < n; i++) {
                assert_int_equal(write(f.peer, stream + i, 1), 1);
                assert_int_equal(channel_read(&f.channel, note, &f), 0);
        }

        assert_int_equal(f.n_frames, 3);
        assert_string_equal(f.text, "first||last|");
        assert_int_equal(f.types[1], CONSOLE_PROMPT);
        assert_int_equal(f.ids[2], 2);
        close_pair(&f);
}

static void a_request_among_the_answers_is_an_error(void **state) {
        char stream[32];
        size_t n = put(stream, CONSOLE_INPUT, 1, "");
        Fixture f;

        open_pair(&f, true, stream, n);
        assert_int_equal(channel_read(&f.channel, note, &f), CHANNEL_E_PROTOCOL);
        assert_int_equal(f.n_frames, 0);
        close_pair(&f);
}

static void plain_bytes_are_output(void **state) {
        Fixture f;

        open_pair(&f, false, "a\0b", 3);
        assert_int_equal(channel_read(&f.channel, note, &f), 0);
        assert_int_equal(f.types[0], CONSOLE_OUTPUT);
        assert_memory_equal(f.text, "a\0b|", 4);
        close_pair(&f);
}

static void what_cannot_be_sent_waits(void **state) {
        static const char block[65536];
        char sink[65536];
        size_t n = 0, total = 0;
        Fixture f;

        open_pair(&f, true, NULL, 0);
        for (int i = 0; i < 32; i++, total += FRAME_HEADER_SIZE + sizeof(block))
                channel_send(&f.channel, CONSOLE_INPUT, 1, block, sizeof(block));
        assert_int_equal(channel_flush(&f.channel), 0);
        assert_true(f.channel.waiting.n > 0);
        assert_int_equal(channel_events(&f.channel), POLLIN | POLLOUT);
        while (n < total) {
                ssize_t k = read(f.peer, sink, sizeof(sink));

                assert_true(k > 0);
                n += (size_t)k;
                assert_int_equal(channel_flush(&f.channel), 0);
        }
        assert_int_equal(channel_events(&f.channel), POLLIN);
        close_pair(&f);
}

static void the_end_of_plain_input_comes_behind_the_input(void **state) {
        char sink[8];
        Fixture f;

        open_pair(&f, false, NULL, 0);
        channel_send_plain(&f.channel, "last", 4);
        channel_end_plain(&f.channel);
        assert_int_equal(channel_flush(&f.channel), 0);
        assert_int_equal(read(f.peer, sink, sizeof(sink)), 4);
        assert_int_equal(read(f.peer, sink, sizeof(sink)), 0);
        close_pair(&f);
}

static void last_words_are_read_after_the_other_side_is_gone(void **state) {
        char stream[32];
        size_t n = put(stream, CONSOLE_END, 1, "bye");
        Fixture f;

        open_pair(&f, true, NULL, 0);
        assert_int_equal(write(f.peer, stream, n), n);
        assert_int_equal(close(f.peer), 0);
        f.peer = -1;
        channel_send(&f.channel, CONSOLE_INPUT, 1, "x", 1);
        assert_int_equal(channel_flush(&f.channel), 0);
        assert_int_equal(channel_events(&f.channel), POLLIN);
        assert_int_equal(channel_read(&f.channel, note, &f), 0);
        assert_string_equal(f.text, "bye|");
        assert_int_equal(channel_read(&f.channel, note, &f), CHANNEL_E_EOF);
        close_pair(&f);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(frames_arrive_whole_however_they_are_cut),
                cmocka_unit_test(a_request_among_the_answers_is_an_error),
                cmocka_unit_test(plain_bytes_are_output),
                cmocka_unit_test(what_cannot_be_sent_waits),
                cmocka_unit_test(the_end_of_plain_input_comes_behind_the_input),
                cmocka_unit_test(last_words_are_read_after_the_other_side_is_gone),
        };

        return cmocka_run_group_tests_name("cli-channel", tests, NULL, NULL);
}
