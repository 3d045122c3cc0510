/* SPDX-License-Identifier: BSD-2-Clause */

/* A process that is killed is one that does nothing more: what it left on the slate is opened again. */

#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/slate.h"
#include "lib/cleanup.h"

typedef struct Scene {
        Slate slate;
        SlateState next; /* what is collected */
        int here, there;
} Scene;

static void collect(SlateState *state, void *userdata) {
        Scene *s = userdata;

        *state = s->next;
}

static int setup(void **state) {
        Scene *s = calloc(1, sizeof(*s));
        int pair[2];

        assert_non_null(s);
        assert_int_equal(slate_init(&s->slate, true), 0);
        strcpy(s->slate.pages->header.session, "0123456789abcdef");
        s->slate.collect = collect;
        s->slate.userdata = s;
        slate_commit(&s->slate);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        s->here = pair[0];
        s->there = pair[1];
        *state = s;
        return 0;
}

static int teardown(void **state) {
        Scene *s = *state;

        slate_done(&s->slate);
        (void)fd_close(s->here);
        (void)fd_close(s->there);
        free(s);
        return 0;
}

/* As the next process does. */
static int open_again(const Scene *s, Slate *ret) {
        int fd = dup(s->slate.fd), r;

        assert_true(fd >= 0);
        r = slate_open(ret, fd);
        if (r != 0 && r != SLATE_E_VERSION)
                assert_int_equal(close(fd), 0);
        return r;
}

static SlateState state_again(const Scene *s) {
        SlateState state;
        Slate again;

        assert_int_equal(open_again(s, &again), 0);
        state = *slate_now(&again);
        slate_done(&again);
        return state;
}

static void values_change_as_a_whole(void **state) {
        Scene *s = *state;

        s->next = (SlateState){ .seq = 3, .flows = { { .taken = 7 } } };
        assert_int_equal(state_again(s).seq, 0);
        slate_prepare(&s->slate); /* and no further */
        assert_int_equal(state_again(s).seq, 0);
        slate_commit(&s->slate);
        assert_int_equal(state_again(s).seq, 3);
        assert_int_equal(state_again(s).flows[SLATE_INPUT].taken, 7);
}

static void bytes_that_were_read_are_known_before_it_is_written_down(void **state) {
        Scene *s = *state;

        assert_int_equal(send(s->there, "abc", 3, 0), 3);
        assert_int_equal(
                slate_read(&s->slate, SLATE_OUTPUT, s->here, s->slate.pages->bytes[SLATE_OUTPUT].read, 16),
                3);
        assert_int_equal(state_again(s).flows[SLATE_OUTPUT].read_to, 3);
        /* It is counted once, also when the next process is killed as well. */
        assert_int_equal(state_again(s).flows[SLATE_OUTPUT].read_to, 3);
        assert_memory_equal(s->slate.pages->bytes[SLATE_OUTPUT].read, "abc", 3);
}

static void what_was_written_is_known_down_to_the_byte(void **state) {
        size_t n = 4U * 1024U * 1024U;
        uint8_t *bytes = calloc(1, n);
        struct iovec iov = { bytes, n };
        Scene *s = *state;
        ssize_t k;

        s->next.flows[SLATE_INPUT] = (SlateFlow){ .written = 10, .taken = 10 + SLATE_RECORDED_MAX };
        slate_commit(&s->slate);
        iov.iov_len = 1000;
        assert_int_equal(slate_write(&s->slate, SLATE_INPUT, s->here, &iov, 1), 1000);
        assert_int_equal(state_again(s).flows[SLATE_INPUT].written, 1010);
        /* What does not fit is a part, or nothing. */
        iov.iov_len = n;
        k = slate_write(&s->slate, SLATE_OUTPUT, s->here, &iov, 1);
        assert_true(k > 0 && (size_t)k < n);
        assert_int_equal(slate_write(&s->slate, SLATE_INPUT, s->here, &iov, 1), -1);
        assert_int_equal(errno, EAGAIN);
        assert_int_equal(state_again(s).flows[SLATE_INPUT].written, 1010);
        free(bytes);
}

static void a_note_counts_only_before_the_values_change(void **state) {
        Scene *s = *state;

        assert_int_equal(send(s->there, "abc", 3, 0), 3);
        assert_int_equal(
                slate_read(&s->slate, SLATE_INPUT, s->here, s->slate.pages->bytes[SLATE_INPUT].read, 16), 3);
        s->next.flows[SLATE_INPUT].read_to = 3;
        slate_commit(&s->slate);
        assert_int_equal(state_again(s).flows[SLATE_INPUT].read_to, 3);
}

static void an_end_and_an_error_are_no_bytes(void **state) {
        Scene *s = *state;
        uint8_t byte;

        assert_int_equal(slate_read(&s->slate, SLATE_INPUT, s->here, &byte, 1), -1);
        assert_int_equal(errno, EAGAIN);
        s->there = fd_close(s->there);
        assert_int_equal(slate_read(&s->slate, SLATE_INPUT, s->here, &byte, 1), 0);
        assert_int_equal(state_again(s).flows[SLATE_INPUT].read_to, 0);
}

static void what_came_ahead_of_a_reset_is_read(void **state) {
        Scene *s = *state;
        char bytes[8];

        assert_int_equal(send(s->here, "unread", 6, 0), 6);
        assert_int_equal(send(s->there, "last", 4, 0), 4);
        s->there = fd_close(s->there);
        assert_int_equal(slate_read(&s->slate, SLATE_INPUT, s->here, bytes, sizeof(bytes)), 4);
        assert_memory_equal(bytes, "last", 4);
        assert_int_equal(slate_read(&s->slate, SLATE_INPUT, s->here, bytes, sizeof(bytes)), 0);
}

static void a_record_that_was_sent_makes_the_prepared_values_hold(void **state) {
        Scene *s = *state;

        s->next.seq = 1;
        slate_prepare(&s->slate);
        assert_int_equal(state_again(s).seq, 0);
        assert_int_equal(slate_send(&s->slate, s->here, "record", 6), 6);
        assert_int_equal(state_again(s).seq, 1);
        assert_int_equal(state_again(s).seq, 1);
}

static void to_settle_is_the_same_with_and_without_a_note(void **state) {
        Scene *s = *state;

        s->next.seq = 1;
        slate_prepare(&s->slate);
        assert_int_equal(slate_send(&s->slate, s->here, "record", 6), 6);
        slate_settle(&s->slate);
        assert_int_equal(slate_now(&s->slate)->seq, 1);
        s->next.seq = 2;
        slate_prepare(&s->slate);
        slate_settle(&s->slate);
        assert_int_equal(slate_now(&s->slate)->seq, 2);
}

static void one_that_nobody_else_holds_works_alike(void **state) {
        Scene *s = *state;
        char byte;

        slate_done(&s->slate);
        assert_int_equal(slate_init(&s->slate, false), 0);
        assert_int_equal(s->slate.fd, -1);
        slate_commit(&s->slate);
        assert_int_equal(send(s->there, "x", 1, 0), 1);
        assert_int_equal(slate_read(&s->slate, SLATE_INPUT, s->here, &byte, 1), 1);
        assert_int_equal(slate_send(NULL, s->here, "y", 1), 1);
}

static int make_file(const void *bytes, size_t n, size_t size, unsigned seals) {
        int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, bytes, n, 0), (ssize_t)n);
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
        return fd;
}

static int open_file(const SlatePages *pages, size_t size) {
        int fd = make_file(pages, sizeof(*pages) < size ? sizeof(*pages) : size, size,
                           F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        Slate slate = {};
        int r = slate_open(&slate, fd);

        if (r == 0 || r == SLATE_E_VERSION)
                slate_done(&slate);
        else
                assert_int_equal(close(fd), 0);
        return r;
}

static off_t held(const Scene *s) {
        struct stat st;

        assert_int_equal(fstat(s->slate.fd, &st), 0);
        return st.st_blocks * 512;
}

static void a_direction_s_memory_is_given_back_and_the_other_s_is_not(void **state) {
        Scene *s = *state;
        SlateBytes *bytes = s->slate.pages->bytes;
        off_t before = held(s);

        memset(&bytes[SLATE_INPUT], 'i', sizeof(*bytes));
        memset(&bytes[SLATE_OUTPUT], 'o', sizeof(*bytes));
        slate_shrink(&s->slate, SLATE_INPUT);
        assert_in_range(held(s) - before, sizeof(*bytes), sizeof(*bytes) + 16384);
        assert_int_equal(bytes[SLATE_OUTPUT].read[0], 'o');
        assert_int_equal(bytes[SLATE_OUTPUT].recorded[SLATE_RECORDED_MAX - 1], 'o');
        slate_shrink(&s->slate, SLATE_OUTPUT);
        assert_true(held(s) - before <= 16384);
        assert_string_equal(s->slate.pages->header.session, "0123456789abcdef");
        (void)state_again(s);
}

static void what_is_no_slate_is_refused(void **state) {
        static SlatePages pages;
        const Scene *s = *state;
        int null = open("/dev/null", O_RDWR | O_CLOEXEC),
            unsealed = make_file(s->slate.pages, sizeof(pages), sizeof(pages), 0);
        Slate slate;

        assert_int_equal(slate_open(&slate, null), SLATE_E_NOT_ONE);
        assert_int_equal(slate_open(&slate, s->here), SLATE_E_NOT_ONE);
        assert_int_equal(slate_open(&slate, unsealed), SLATE_E_NOT_ONE);
        assert_int_equal(close(null) | close(unsealed), 0);
        memcpy(&pages, s->slate.pages, sizeof(pages));
        assert_int_equal(open_file(&pages, sizeof(pages)), 0);
        assert_int_equal(open_file(&pages, sizeof(pages) - 1), SLATE_E_NOT_ONE);
        assert_int_equal(open_file(&pages, sizeof(pages) + 1), SLATE_E_NOT_ONE);
        assert_int_equal(open_file(&pages, 100), SLATE_E_NOT_ONE);
}

static void what_goes_beyond_its_bounds_is_refused(void **state) {
        static SlatePages good, bad;
        const Scene *s = *state;
        SlateState *v = &bad.states[s->slate.pages->header.active];

#define REFUSED(change)                                                          \
        do {                                                                     \
                memcpy(&bad, &good, sizeof(bad));                                \
                change;                                                          \
                assert_int_equal(open_file(&bad, sizeof(bad)), SLATE_E_NOT_ONE); \
        } while (0)

        memcpy(&good, s->slate.pages, sizeof(good));
        REFUSED(bad.header.magic[0] = 'x');
        REFUSED(bad.header.active = 2);
        REFUSED(bad.header.state_size = 8);
        REFUSED(bad.header.session[3] = '\0');
        REFUSED(memset(bad.header.client_user, 'x', sizeof(bad.header.client_user)));
        REFUSED(memset(bad.header.target_unit, 'x', sizeof(bad.header.target_unit)));
        REFUSED(v->n_prompt = BACKLOG_PROMPT_MAX + 1);
        REFUSED(v->n_backlog = BACKLOG_MAX + 1);
        REFUSED(v->flows[0].taken = SLATE_RECORDED_MAX + 1);
        REFUSED(v->flows[1].written = 1);
        REFUSED(v->flows[1].read_to = SLATE_READ_MAX + 1);
        REFUSED(v->flows[0].read_from = 1);
        REFUSED(v->flows[0].read_from = v->flows[0].read_to = 1);
        REFUSED(v->flows[0].n_header = FRAME_HEADER_SIZE);
        REFUSED(v->flows[0].frame_remaining = 1);
        REFUSED(v->flows[0].frame_length = FRAME_PAYLOAD_MAX + 1);
        /* Notes of more than there is. */
        bad.note.generation = v->generation;
        REFUSED((bad.note.act = SLATE_WRITES, bad.note.kernel.msg_len = 1,
                 bad.note.generation = v->generation));
        REFUSED((bad.note.act = SLATE_READS, bad.note.kernel.msg_len = SLATE_READ_MAX + 1,
                 bad.note.generation = v->generation));
        REFUSED((bad.note.direction = 2, bad.note.kernel.msg_len = 1, bad.note.generation = v->generation));
        REFUSED((bad.note.act = SLATE_RECORDS, bad.note.kernel.msg_len = 1,
                 bad.note.generation = v->generation, bad.states[!bad.header.active].generation = 77));
#undef REFUSED
}

static void of_another_version_there_is_what_its_end_needs(void **state) {
        static union {
                SlatePages pages;
                uint8_t bytes[1];
        } other;
        const Scene *s = *state;
        SlateState values = { .seq = 42, .output_bytes = 7 };
        size_t state_size = sizeof(SlateState) + 4096;
        Slate slate;
        int fd;

        memcpy(&other, s->slate.pages, sizeof(other));
        other.pages.header.version = SLATE_VERSION + 1;
        other.pages.header.state_size = (uint32_t)state_size;
        other.pages.header.active = 1;
        memcpy(other.bytes + sizeof(SlateHeader) + state_size, &values, offsetof(SlateState, mark));
        fd = make_file(&other, sizeof(other), sizeof(other) + 12345,
                       F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        assert_int_equal(slate_open(&slate, fd), SLATE_E_VERSION);
        assert_string_equal(slate.pages->header.session, "0123456789abcdef");
        assert_int_equal(slate_now(&slate)->seq, 42);
        assert_int_equal(slate_now(&slate)->output_bytes, 7);
        slate_done(&slate);
        /* One whose values are not all there is none. */
        assert_int_equal(open_file(&other.pages, sizeof(SlateHeader) + state_size), SLATE_E_NOT_ONE);
}

/* slate-1.bin is the beginning of one that a manholed of version 1 wrote: of a framed session, in the middle
 * of a frame of input. */
static void version_1_is_read(void **state) {
        char path[4096], bytes[4096];
        const char *source = getenv("MANHOLED_SRCDIR") ?: ".";
        const SlateState *v;
        Slate slate;
        FILE *f;
        size_t n;
        int fd;

        (void)snprintf(path, sizeof(path), "%s/tests/unit/slate-1.bin", source);
        f = fopen(path, "re");
        assert_non_null(f);
        n = fread(bytes, 1, sizeof(bytes), f);
        assert_int_equal(fclose(f), 0);
        assert_int_equal(n, 2048);
        fd = make_file(bytes, n, 427800, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        assert_int_equal(slate_open(&slate, fd), 0);
        assert_string_equal(slate.pages->header.session, "7120b8415d126c79");
        assert_string_equal(slate.pages->header.recorder, "none");
        assert_string_equal(slate.pages->header.client_user, "root");
        assert_string_equal(slate.pages->header.target_comm, "python3");
        assert_int_equal(slate.pages->header.target_pid, 14479);
        assert_true(slate.pages->fixed.framed && slate.pages->fixed.wants_linger);
        v = slate_now(&slate);
        assert_int_equal(v->seq, 6);
        assert_int_equal(v->client_pid, 14450);
        assert_int_equal(v->input_bytes, 5);
        assert_int_equal(v->output_bytes, 266);
        assert_int_equal(v->input_records, 2);
        assert_int_equal(v->output_records, 3);
        assert_true(v->console_open && v->joined && !v->prompts && !v->suspended && !v->ended);
        assert_int_equal(v->console_id, 7);
        assert_int_equal(v->n_prompt, 4);
        assert_memory_equal(v->prompt, ">>> ", 4);
        assert_int_equal(v->flows[SLATE_INPUT].frame_length, 10);
        assert_int_equal(v->flows[SLATE_INPUT].frame_remaining, 5);
        assert_int_equal(v->flows[SLATE_INPUT].taken, v->flows[SLATE_INPUT].written);
        slate_done(&slate);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(values_change_as_a_whole),
                CASE(bytes_that_were_read_are_known_before_it_is_written_down),
                CASE(what_was_written_is_known_down_to_the_byte),
                CASE(a_note_counts_only_before_the_values_change),
                CASE(an_end_and_an_error_are_no_bytes),
                CASE(what_came_ahead_of_a_reset_is_read),
                CASE(a_record_that_was_sent_makes_the_prepared_values_hold),
                CASE(to_settle_is_the_same_with_and_without_a_note),
                CASE(one_that_nobody_else_holds_works_alike),
                CASE(a_direction_s_memory_is_given_back_and_the_other_s_is_not),
                CASE(what_is_no_slate_is_refused),
                CASE(what_goes_beyond_its_bounds_is_refused),
                CASE(of_another_version_there_is_what_its_end_needs),
                CASE(version_1_is_read),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
