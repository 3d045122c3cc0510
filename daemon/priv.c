/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/priv-channel.h"
#include "daemon/priv-ops.h"
#include "daemon/priv-start.h"
#include "lib/cleanup.h"

/* Requests under way at once: more wait here rather than in the socket, so that both sides'
 * buffers always have room. */
#define IN_FLIGHT_MAX 32U

typedef TAILQ_HEAD(PrivCalls, PrivCall) PrivCalls;

struct Priv {
        struct event_base *loop;
        PrivBackend backend;
        int fd;                /* owned: the channel, non-blocking; -1 in place, or not connected */
        struct event *readable; /* owned */
        struct event *pump;     /* owned: sends, or runs in place, from the loop */
        PrivCalls waiting, in_flight;
        unsigned n_in_flight;
        uint32_t next_id;
};

static void call_release_fds(PrivCall *call) {
        for (unsigned i = 0; i < call->n_fds; i++)
                call->fds[i] = fd_close(call->fds[i]);
        call->n_fds = 0;
}

/* Takes the call off its list; it is idle afterwards. */
static void call_detach(PrivCall *call) {
        Priv *priv = call->priv;

        if (call->sent) {
                TAILQ_REMOVE(&priv->in_flight, call, link);
                priv->n_in_flight--;
        } else
                TAILQ_REMOVE(&priv->waiting, call, link);
        call_release_fds(call);
        call->priv = NULL;
        call->sent = false;
}

static void call_finish(PrivCall *call, int error, int fd) {
        call_detach(call);
        call->done(call, error, fd, call->userdata);
}

static void priv_disconnect(Priv *priv, int error) {
        PrivCall *call;

        if (priv->readable)
                event_free(priv->readable);
        priv->readable = NULL;
        priv->fd = fd_close(priv->fd);
        while ((call = TAILQ_FIRST(&priv->in_flight)))
                call_finish(call, error, -1);
}

static void priv_on_readable(evutil_socket_t fd, short what, void *userdata) {
        Priv *priv = userdata;

        for (;;) {
                PrivResponse response;
                PrivCall *call;
                int answer_fd = -1;
                int r = priv_channel_receive(priv->fd, &response, sizeof(response), &answer_fd, 1, NULL);

                if (r == -EAGAIN)
                        return;
                if (r == -EMFILE) /* an error of this one request */
                        response.error = r;
                else if (r < 0) {
                        log_error("manholed-priv is gone: %s", strerror(-r));
                        /* With systemd it comes back when it is asked again; a child does not. */
                        if (priv->backend == PRIV_BACKEND_CHILD)
                                event_base_loopbreak(priv->loop);
                        priv_disconnect(priv, -ECONNRESET);
                        event_active(priv->pump, EV_TIMEOUT, 0); /* what waits is asked of the next one */
                        return;
                }
                TAILQ_FOREACH(call, &priv->in_flight, link)
                        if (call->request.id == response.id)
                                break;
                if (call)
                        call_finish(call, response.error, answer_fd);
                else
                        (void)fd_close(answer_fd); /* cancelled */
                event_active(priv->pump, EV_TIMEOUT, 0);
        }
}

static int priv_watch(Priv *priv) {
        priv->readable = event_new(priv->loop, priv->fd, EV_READ | EV_PERSIST, priv_on_readable, priv);
        if (!priv->readable || event_add(priv->readable, NULL) < 0)
                return -ENOMEM;
        return 0;
}

static void priv_run_in_place(Priv *priv) {
        PrivCall *call;

        /* What is asked for meanwhile waits for the next turn of the loop. */
        for (unsigned i = 0; i < IN_FLIGHT_MAX && (call = TAILQ_FIRST(&priv->waiting)); i++) {
                int fd, r = priv_execute(&call->request, call->fds, call->n_fds, &fd);

                call_finish(call, r, fd);
        }
}

static int priv_send(Priv *priv) {
        PrivCall *call;
        int r;

        if (priv->fd < 0 && !TAILQ_EMPTY(&priv->waiting)) {
                r = priv_start_connect(&priv->fd);
                if (r < 0)
                        return r;
                r = priv_watch(priv);
                if (r < 0)
                        return r;
        }
        while (priv->n_in_flight < IN_FLIGHT_MAX && (call = TAILQ_FIRST(&priv->waiting))) {
                r = priv_channel_send(priv->fd, &call->request, sizeof(call->request), call->fds, call->n_fds);
                if (r == -EAGAIN)
                        return 0; /* an answer makes room and wakes the pump */
                if (r < 0)
                        return r;
                TAILQ_REMOVE(&priv->waiting, call, link);
                TAILQ_INSERT_TAIL(&priv->in_flight, call, link);
                call->sent = true;
                priv->n_in_flight++;
                call_release_fds(call);
        }
        return 0;
}

static void priv_on_pump(evutil_socket_t fd, short what, void *userdata) {
        Priv *priv = userdata;
        PrivCall *call;
        int r;

        if (priv->backend == PRIV_BACKEND_IN_PLACE)
                priv_run_in_place(priv);
        else {
                r = priv_send(priv);
                if (r < 0) {
                        log_error("Cannot ask manholed-priv: %s", strerror(-r));
                        priv_disconnect(priv, r);
                        while ((call = TAILQ_FIRST(&priv->waiting)))
                                call_finish(call, r, -1);
                }
        }
        if (!TAILQ_EMPTY(&priv->waiting) && priv->n_in_flight == 0)
                event_active(priv->pump, EV_TIMEOUT, 0);
}

int priv_new(struct event_base *loop, Priv **ret) {
        Priv *priv = calloc(1, sizeof(*priv));
        int r;

        if (!priv)
                return -ENOMEM;
        priv->loop = loop;
        priv->fd = -1;
        TAILQ_INIT(&priv->waiting);
        TAILQ_INIT(&priv->in_flight);

        r = priv_start(&priv->backend, &priv->fd);
        if (r < 0)
                goto fail;
        r = -ENOMEM;
        priv->pump = event_new(loop, -1, 0, priv_on_pump, priv);
        if (!priv->pump)
                goto fail;
        if (priv->fd >= 0) {
                r = priv_watch(priv);
                if (r < 0)
                        goto fail;
        }
        *ret = priv;
        return 0;
fail:
        priv_free(priv);
        return r;
}

void priv_free(Priv *priv) {
        if (!priv)
                return;
        assert(TAILQ_EMPTY(&priv->waiting) && TAILQ_EMPTY(&priv->in_flight));
        if (priv->readable)
                event_free(priv->readable);
        if (priv->pump)
                event_free(priv->pump);
        (void)fd_close(priv->fd);
        free(priv);
}

static int priv_begin(Priv *priv, PrivCall *call, PrivRequest request, const int *fds, unsigned n_fds,
                      PrivDone done, void *userdata) {
        assert(!call->priv);

        *call = (PrivCall){ .priv = priv, .request = request, .done = done, .userdata = userdata };
        call->request.id = ++priv->next_id;
        for (; call->n_fds < n_fds; call->n_fds++) {
                int fd = fcntl(fds[call->n_fds], F_DUPFD_CLOEXEC, 3);

                if (fd < 0) {
                        int r = -errno;

                        call_release_fds(call);
                        call->priv = NULL;
                        return r;
                }
                call->fds[call->n_fds] = fd;
        }
        TAILQ_INSERT_TAIL(&priv->waiting, call, link);
        event_active(priv->pump, EV_TIMEOUT, 0);
        return 0;
}

int priv_probe(Priv *priv, PrivCall *call, int socket_fd, PrivDone done, void *userdata) {
        return priv_begin(priv, call, (PrivRequest){ .operation = PRIV_PROBE }, &socket_fd, 1, done, userdata);
}

int priv_connect(Priv *priv, PrivCall *call, int socket_fd, uid_t uid, bool framed, PrivDone done,
                 void *userdata) {
        PrivRequest request = { .operation = PRIV_CONNECT, .uid = uid, .framed = framed };
        int r = priv_begin(priv, call, request, &socket_fd, 1, done, userdata);

        if (r == 0)
                priv_call_hasten(call);
        return r;
}

int priv_stale(Priv *priv, PrivCall *call, int folder_fd, int socket_fd, const char *name, pid_t pid,
               uint64_t start_time, bool remove, PrivDone done, void *userdata) {
        PrivRequest request = { .operation = remove ? PRIV_UNLINK_STALE : PRIV_CHECK_STALE, .pid = pid,
                                .start_time = start_time };
        int fds[] = { folder_fd, socket_fd };

        if (strlen(name) >= sizeof(request.name))
                return -ENAMETOOLONG;
        strcpy(request.name, name);
        return priv_begin(priv, call, request, fds, 2, done, userdata);
}

int priv_open_maps(Priv *priv, PrivCall *call, pid_t pid, uint64_t start_time, PrivDone done, void *userdata) {
        PrivRequest request = { .operation = PRIV_OPEN_MAPS, .pid = pid, .start_time = start_time };

        return priv_begin(priv, call, request, NULL, 0, done, userdata);
}

int priv_open_executable(Priv *priv, PrivCall *call, pid_t pid, uint64_t start_time, PrivDone done,
                         void *userdata) {
        PrivRequest request = { .operation = PRIV_OPEN_EXECUTABLE, .pid = pid, .start_time = start_time };

        return priv_begin(priv, call, request, NULL, 0, done, userdata);
}

int priv_list_processes(Priv *priv, PrivCall *call, pid_t after, PrivDone done, void *userdata) {
        PrivRequest request = { .operation = PRIV_LIST_PROCESSES, .pid = after };

        return priv_begin(priv, call, request, NULL, 0, done, userdata);
}

int priv_open_tmp(Priv *priv, PrivCall *call, pid_t pid, uint64_t start_time, PrivDone done, void *userdata) {
        PrivRequest request = { .operation = PRIV_OPEN_TMP, .pid = pid, .start_time = start_time };

        return priv_begin(priv, call, request, NULL, 0, done, userdata);
}

void priv_call_hasten(PrivCall *call) {
        if (!call->priv || call->sent)
                return;
        TAILQ_REMOVE(&call->priv->waiting, call, link);
        TAILQ_INSERT_HEAD(&call->priv->waiting, call, link);
}

void priv_call_cancel(PrivCall *call) {
        if (call->priv)
                call_detach(call);
}
