/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/priv-channel.h"
#include "daemon/priv-start.h"
#include "daemon/priv.h"
#include "lib/cleanup.h"

/* In place of daemon/priv-start.c: manholed-priv is run by systemd, and the test is it. */
static int served = -1; /* our end of the last connection */
static unsigned n_connections;

int priv_start(PrivBackend *ret_backend, int *ret_fd) {
        *ret_backend = PRIV_BACKEND_SERVICE;
        *ret_fd = -1;
        return 0;
}

int priv_start_connect(int *ret_fd) {
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        served = fd_close(served);
        *ret_fd = pair[0];
        served = pair[1];
        n_connections++;
        return 0;
}

typedef struct Asked {
        PrivCall call;
        unsigned n_done;
        int error;
} Asked;

static void on_done(PrivCall *call, int error, int fd, void *userdata) {
        Asked *a = userdata;

        a->n_done++;
        a->error = error;
        assert_int_equal(fd, -1);
}

static unsigned receive(PrivRequest *ret, unsigned max) {
        unsigned n = 0;

        while (n < max) {
                int fd, r = priv_channel_receive(served, &ret[n], sizeof(*ret), &fd, 1, NULL);

                if (r == -EAGAIN)
                        break;
                assert_int_equal(r, 0);
                (void)fd_close(fd);
                n++;
        }
        return n;
}

static void turn(struct event_base *loop) {
        for (unsigned i = 0; i < 4; i++)
                assert_true(event_base_loop(loop, EVLOOP_NONBLOCK) >= 0);
}

enum { N = 100 };

static void what_waits_when_the_other_half_ends_is_asked_of_the_next(void **state) {
        static Asked asked[N];
        struct event_base *loop = event_base_new();
        PrivRequest requests[N];
        unsigned n, n_lost = 0;
        Priv *priv;

        assert_int_equal(priv_new(loop, &priv), 0);
        for (unsigned i = 0; i < N; i++)
                assert_int_equal(priv_probe(priv, &asked[i].call, STDIN_FILENO, on_done, &asked[i]), 0);
        turn(loop);
        n = receive(requests, N);
        assert_true(n > 0 && n < N);
        served = fd_close(served);
        turn(loop);
        for (unsigned i = 0; i < N; i++)
                n_lost += asked[i].n_done == 1 && asked[i].error == -ECONNRESET;
        assert_int_equal(n_lost, n);
        assert_int_equal(n_connections, 2);

        for (unsigned i = 0; i < N; i++) {
                turn(loop);
                n = receive(requests, N);
                for (unsigned k = 0; k < n; k++) {
                        PrivResponse response = { .id = requests[k].id, .error = -ECONNREFUSED };

                        assert_int_equal(priv_channel_send(served, &response, sizeof(response), NULL, 0), 0);
                }
        }
        for (unsigned i = 0; i < N; i++)
                assert_int_equal(asked[i].n_done, 1);
        assert_int_equal(n_connections, 2);
        priv_free(priv);
        event_base_free(loop);
        served = fd_close(served);
}

static void a_cancelled_call_is_not_answered(void **state) {
        struct event_base *loop = event_base_new();
        Asked waiting = {}, sent = {}, next = {};
        PrivResponse response = { .error = -EPERM };
        PrivRequest requests[N];
        Priv *priv;

        assert_int_equal(priv_new(loop, &priv), 0);
        assert_int_equal(priv_probe(priv, &waiting.call, STDIN_FILENO, on_done, &waiting), 0);
        assert_int_equal(priv_probe(priv, &sent.call, STDIN_FILENO, on_done, &sent), 0);
        priv_call_cancel(&waiting.call);
        priv_call_cancel(&waiting.call);
        turn(loop);
        assert_int_equal(receive(requests, N), 1);
        priv_call_cancel(&sent.call);
        assert_int_equal(priv_probe(priv, &next.call, STDIN_FILENO, on_done, &next), 0);
        response.id = requests[0].id;
        assert_int_equal(priv_channel_send(served, &response, sizeof(response), NULL, 0), 0);
        turn(loop);
        assert_int_equal(waiting.n_done + sent.n_done + next.n_done, 0);
        assert_int_equal(receive(requests, N), 1);
        response.id = requests[0].id;
        assert_int_equal(priv_channel_send(served, &response, sizeof(response), NULL, 0), 0);
        turn(loop);
        assert_int_equal(next.n_done, 1);
        assert_int_equal(next.error, -EPERM);
        priv_free(priv);
        event_base_free(loop);
        served = fd_close(served);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_waits_when_the_other_half_ends_is_asked_of_the_next),
                cmocka_unit_test(a_cancelled_call_is_not_answered),
        };

        return cmocka_run_group_tests_name("priv", tests, NULL, NULL);
}
