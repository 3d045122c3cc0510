/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>

#include "daemon/priv-channel.h"
#include "daemon/priv-protocol.h"
#include "lib/cleanup.h"
#include "lib/fd.h"
#include "tests/unit/scratch.h"

#define MANY 5U

typedef struct Message {
        uint64_t a, b;
} Message;

/* A channel, and descriptors to send; the test fails if any is left open. */
typedef struct Pair {
        int ours, theirs;
        int fds[MANY];
        unsigned open_before;
} Pair;

static void pair_open(Pair *p) {
        int fds[2];

        p->open_before = scratch_open_fds();
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
        p->ours = fds[0];
        p->theirs = fds[1];
        for (unsigned i = 0; i < MANY; i++) {
                p->fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
                assert_true(p->fds[i] >= 0);
        }
        assert_int_equal(fd_set_nonblock(p->theirs, true), 0);
}

static void pair_close(Pair *p) {
        fd_close(p->ours);
        fd_close(p->theirs);
        for (unsigned i = 0; i < MANY; i++)
                fd_close(p->fds[i]);
        assert_int_equal(scratch_open_fds(), p->open_before);
}

/* What nobody who keeps to the protocol would send. */
static void send_raw(int fd, const void *data, size_t n, const int *fds, unsigned n_fds) {
        struct iovec iov = { .iov_base = (void *)data, .iov_len = n };
        union {
                char bytes[CMSG_SPACE(sizeof(int) * MANY)];
                struct cmsghdr align;
        } control = {};
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (n_fds > 0) {
                struct cmsghdr *c;

                msg.msg_control = control.bytes;
                msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
                c = CMSG_FIRSTHDR(&msg);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
                memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
        }
        assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), (ssize_t)n);
}

static void a_message_and_its_descriptors_arrive(void **state) {
        Pair p;

        pair_open(&p);
        for (unsigned n = 0; n <= PRIV_FDS_MAX; n++) {
                Message in = { 1, n }, out = {};
                int fds[PRIV_FDS_MAX] = { 77, 77 };
                unsigned n_fds = 77;

                assert_int_equal(priv_channel_send(p.ours, &in, sizeof(in), p.fds, n), 0);
                assert_int_equal(priv_channel_receive(p.theirs, &out, sizeof(out), fds, PRIV_FDS_MAX, &n_fds), 0);
                assert_memory_equal(&in, &out, sizeof(in));
                assert_int_equal(n_fds, n);
                for (unsigned i = 0; i < PRIV_FDS_MAX; i++) {
                        if (i >= n) {
                                assert_int_equal(fds[i], -1);
                                continue;
                        }
                        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
                        assert_true(fcntl(p.fds[i], F_GETFD) >= 0); /* it was only lent */
                        fd_close(fds[i]);
                }
        }
        pair_close(&p);
}

static void messages_stay_apart(void **state) {
        Pair p;

        pair_open(&p);
        for (uint64_t i = 0; i < 10; i++)
                assert_int_equal(priv_channel_send(p.ours, &(Message){ i, 0 }, sizeof(Message), NULL, 0), 0);
        for (uint64_t i = 0; i < 10; i++) {
                Message m;

                assert_int_equal(priv_channel_receive(p.theirs, &m, sizeof(m), NULL, 0, NULL), 0);
                assert_int_equal(m.a, i);
        }
        assert_int_equal(priv_channel_receive(p.theirs, &(Message){}, sizeof(Message), NULL, 0, NULL), -EAGAIN);
        pair_close(&p);
}

static void more_descriptors_than_wanted_leave_none_behind(void **state) {
        Message m = {};
        Pair p;

        pair_open(&p);
        for (unsigned n = 1; n <= MANY; n++)
                for (unsigned max = 0; max < n && max <= PRIV_FDS_MAX; max++) {
                        int fds[PRIV_FDS_MAX] = { 77, 77 };
                        unsigned before = scratch_open_fds();

                        send_raw(p.ours, &m, sizeof(m), p.fds, n);
                        assert_int_equal(priv_channel_receive(p.theirs, &m, sizeof(m), fds, max, NULL), -EBADMSG);
                        assert_int_equal(scratch_open_fds(), before);
                        for (unsigned i = 0; i < max; i++)
                                assert_int_equal(fds[i], -1);
                }
        /* The channel goes on. */
        assert_int_equal(priv_channel_send(p.ours, &m, sizeof(m), NULL, 0), 0);
        assert_int_equal(priv_channel_receive(p.theirs, &m, sizeof(m), NULL, 0, NULL), 0);
        pair_close(&p);
}

static void a_message_of_another_size_leaves_no_descriptor_behind(void **state) {
        static const size_t sizes[] = { 1, sizeof(Message) - 1, sizeof(Message) + 1, 10 * sizeof(Message), 4096 };
        static const char data[4096];
        Pair p;

        pair_open(&p);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
                for (unsigned n = 0; n <= PRIV_FDS_MAX; n++) {
                        unsigned before = scratch_open_fds();
                        int fds[PRIV_FDS_MAX];
                        Message m;

                        send_raw(p.ours, data, sizes[i], p.fds, n);
                        assert_int_equal(priv_channel_receive(p.theirs, &m, sizeof(m), fds, PRIV_FDS_MAX, NULL), -EBADMSG);
                        assert_int_equal(scratch_open_fds(), before);
                }
        pair_close(&p);
}

static void an_empty_message_is_taken_for_the_end_and_leaves_no_descriptor(void **state) {
        int fds[PRIV_FDS_MAX];
        unsigned before;
        Message m;
        Pair p;

        pair_open(&p);
        before = scratch_open_fds();
        send_raw(p.ours, "", 0, p.fds, 2);
        assert_int_equal(priv_channel_receive(p.theirs, &m, sizeof(m), fds, PRIV_FDS_MAX, NULL), -ECONNRESET);
        assert_int_equal(scratch_open_fds(), before);
        pair_close(&p);
}

static void credentials_that_nobody_asked_for_do_no_harm(void **state) {
        int one = 1, fds[PRIV_FDS_MAX];
        unsigned before, n_fds = 77;
        Message m = { 3, 4 }, out = {};
        Pair p;

        pair_open(&p);
        assert_int_equal(setsockopt(p.theirs, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)), 0);
        before = scratch_open_fds();
        /* They take the place of a descriptor: control data is cut, and the message refused. */
        send_raw(p.ours, &m, sizeof(m), p.fds, 2);
        assert_int_equal(priv_channel_receive(p.theirs, &out, sizeof(out), fds, PRIV_FDS_MAX, &n_fds), -EBADMSG);
        assert_int_equal(n_fds, 77);
        assert_int_equal(scratch_open_fds(), before);
        pair_close(&p);
}

static void the_end_of_the_channel_is_told(void **state) {
        Message m = {};
        Pair p;

        pair_open(&p);
        assert_int_equal(priv_channel_send(p.ours, &m, sizeof(m), p.fds, 1), 0);
        p.ours = fd_close(p.ours);
        {
                int fds[PRIV_FDS_MAX];

                /* What was sent before still arrives. */
                assert_int_equal(priv_channel_receive(p.theirs, &m, sizeof(m), fds, PRIV_FDS_MAX, NULL), 0);
                fd_close(fds[0]);
                assert_int_equal(priv_channel_receive(p.theirs, &m, sizeof(m), fds, PRIV_FDS_MAX, NULL), -ECONNRESET);
        }
        assert_int_equal(priv_channel_send(p.theirs, &m, sizeof(m), NULL, 0), -EPIPE); /* and no signal */
        pair_close(&p);
}

static void a_full_channel_says_so(void **state) {
        Message m = {};
        unsigned n = 0;
        Pair p;
        int r;

        pair_open(&p);
        while ((r = priv_channel_send(p.theirs, &m, sizeof(m), NULL, 0)) == 0)
                n++;
        assert_int_equal(r, -EAGAIN);
        assert_true(n >= 32); /* as many as may be under way at once */
        assert_int_equal(priv_channel_receive(p.ours, &m, sizeof(m), NULL, 0, NULL), 0);
        pair_close(&p);
}

static void a_descriptor_that_is_none_is_not_sent(void **state) {
        Message m = {};
        int none = -1;
        Pair p;

        pair_open(&p);
        assert_int_equal(priv_channel_send(p.ours, &m, sizeof(m), &none, 1), -EBADF);
        assert_int_equal(priv_channel_receive(p.theirs, &m, sizeof(m), NULL, 0, NULL), -EAGAIN);
        pair_close(&p);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_message_and_its_descriptors_arrive),
                cmocka_unit_test(messages_stay_apart),
                cmocka_unit_test(more_descriptors_than_wanted_leave_none_behind),
                cmocka_unit_test(a_message_of_another_size_leaves_no_descriptor_behind),
                cmocka_unit_test(an_empty_message_is_taken_for_the_end_and_leaves_no_descriptor),
                cmocka_unit_test(credentials_that_nobody_asked_for_do_no_harm),
                cmocka_unit_test(the_end_of_the_channel_is_told),
                cmocka_unit_test(a_full_channel_says_so),
                cmocka_unit_test(a_descriptor_that_is_none_is_not_sent),
        };

        return cmocka_run_group_tests_name("priv-channel", tests, NULL, NULL);
}
