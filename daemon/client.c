/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/client.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/errors.h"
#include "daemon/log.h"
#include "lib/cleanup.h"
#include "lib/container.h"

/* A call is small; what is longer is an attack or a mistake. */
#define CALL_MAX 65536U
static void client_dispatch(Client *c);

/* One call at a time, and none while an answer waits to be read: what else is sent waits in the
 * socket, at its sender's cost. */
static bool client_takes_calls(const Client *c) {
        return !c->message && !c->closing && evbuffer_get_length(c->out) == 0;
}

static void client_watch(Client *c) {
        bool reads = client_takes_calls(c) && c->hungry && !c->eof;
        bool writes = evbuffer_get_length(c->out) > 0;

        if (c->ended)
                reads = writes = false;
        (void)(reads ? event_add(c->readable, NULL) : event_del(c->readable));
        (void)(writes ? event_add(c->writable, NULL) : event_del(c->writable));
}

/* Charges what waits in our memory to the peer's user. False when that is too much. */
static bool client_account(Client *c) {
        size_t n = evbuffer_get_length(c->out);

        if (n > c->n_unread) {
                if (n > UINT_MAX || quota_charge_many(c->host->unread, c->peer.uid, (unsigned)n - c->n_unread) != 0)
                        return false;
        } else if (n < c->n_unread)
                quota_release_many(c->host->unread, c->peer.uid, c->n_unread - (unsigned)n);
        c->n_unread = (unsigned)n;
        return true;
}

void client_end(Client *c) {
        if (c->ended)
                return;
        c->ended = true;
        hangup_cancel(&c->gone);
        (void)evbuffer_drain(c->out, evbuffer_get_length(c->out));
        (void)client_account(c);
        client_watch(c);
        c->host->ended(c, c->host->userdata);
}

static bool client_write(Client *c) {
        while (evbuffer_get_length(c->out) > 0)
                if (evbuffer_write(c->out, c->fd) < 0)
                        return errno == EAGAIN || errno == EINTR;
        return true;
}

static void client_send_consume(Client *c, json_t *message) {
        _cleanup_free_ char *text = NULL;
        size_t n;

        if (varlink_encode_consume(message, &text, &n) < 0 ||
            evbuffer_add(c->out, text, n) < 0 || !client_write(c) || !client_account(c))
                client_end(c);
}

static void client_done_with_call(Client *c) {
        hangup_cancel(&c->gone);
        json_decref(c->message);
        c->message = NULL;
        c->call = (VarlinkCall){};
        c->session = NULL;
        c->question = NULL;
        client_watch(c);
        /* The next call may have been read already. It waits for its turn, as others' do. */
        if (!c->ended)
                (void)event_add(c->next, &(struct timeval){});
}

void client_continue(Client *c, json_t *parameters) {
        assert(c->call.more);

        client_send_consume(c, varlink_reply_new(parameters, true));
        if (!c->ended)
                client_watch(c);
}

size_t client_unread(const Client *c) {
        return evbuffer_get_length(c->out);
}

void client_reply(Client *c, json_t *parameters) {
        if (!c->call.oneway)
                client_send_consume(c, varlink_reply_new(parameters, false));
        else
                json_decref(parameters);
        client_done_with_call(c);
}

void client_error_object(Client *c, const char *error, json_t *parameters) {
        tally_error(c->host->tally, error);
        if (!c->call.oneway)
                client_send_consume(c, varlink_error_new(error, parameters));
        else
                json_decref(parameters);
        client_done_with_call(c);
}

void client_error(Client *c, const char *error, const char *key, const char *reason) {
        client_error_object(c, error, json_pack("{s:s}", key, reason));
}

void client_refuse(Client *c, const char *error, const char *reason) {
        c->closing = true;
        tally_error(c->host->tally, error);
        client_send_consume(c, varlink_error_new(error, json_pack("{s:s}", "reason", reason)));
        client_dispatch(c);
}

static void client_on_gone(Hangup *hangup) {
        client_end(container_of(hangup, Client, gone));
}

static void client_parse(Client *c) {
        int r = varlink_reader_next(&c->reader, &c->message);

        c->hungry = r == 0 && !c->message;
        if (c->hungry)
                return;
        if (r == 0)
                r = varlink_call_parse(c->message, &c->call);
        if (r != 0) {
                client_refuse(c, ERROR_BAD_MESSAGE, "a message is not a Varlink call");
                return;
        }
        client_watch(c);
        c->host->call(c, &c->call, c->host->userdata);
        if (c->message && !c->ended)
                (void)hangup_watch(c->host->hangups, &c->gone, c->fd, client_on_gone);
}

static void client_dispatch(Client *c) {
        if (c->ended)
                return;
        if (!client_write(c) || !client_account(c) || (c->closing && evbuffer_get_length(c->out) == 0)) {
                client_end(c);
                return;
        }
        if (c->message && evbuffer_get_length(c->out) == 0)
                c->host->drained(c, c->host->userdata);
        if (client_takes_calls(c))
                client_parse(c);
        if (client_takes_calls(c) && c->hungry && c->eof)
                client_end(c);
        else
                client_watch(c);
}

static void client_on_readable(evutil_socket_t fd, short what, void *userdata) {
        Client *c = userdata;
        char *bytes;
        ssize_t k;
        size_t n;
        int r = varlink_reader_room(&c->reader, &bytes, &n);

        if (r != 0) {
                client_refuse(c, ERROR_BAD_MESSAGE, "a message is too long");
                return;
        }
        /* read(2), not recvmsg(2): descriptors that are passed along are closed by the kernel. */
        k = read(fd, bytes, n);
        if (k < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (k < 0) {
                client_end(c);
                return;
        }
        c->eof = k == 0;
        varlink_reader_added(&c->reader, (size_t)k);
        client_dispatch(c);
}

static void client_on_turn(evutil_socket_t fd, short what, void *userdata) {
        client_dispatch(userdata);
}

int client_new_consume(const ClientHost *host, int fd, const Peer *peer, Client **ret) {
        Client *c = calloc(1, sizeof(*c));

        if (!c) {
                (void)fd_close(fd);
                return -ENOMEM;
        }
        c->host = host;
        c->fd = fd;
        c->peer = *peer;
        c->hungry = true;
        varlink_reader_init(&c->reader, CALL_MAX);
        c->out = evbuffer_new();
        c->readable = event_new(host->loop, fd, EV_READ | EV_PERSIST, client_on_readable, c);
        c->writable = event_new(host->loop, fd, EV_WRITE | EV_PERSIST, client_on_turn, c);
        c->next = event_new(host->loop, -1, 0, client_on_turn, c);
        if (!c->out || !c->readable || !c->writable || !c->next) {
                client_free(c);
                return -ENOMEM;
        }
        client_watch(c);
        *ret = c;
        return 0;
}

void client_free(Client *c) {
        if (!c)
                return;
        if (c->readable)
                event_free(c->readable);
        if (c->writable)
                event_free(c->writable);
        if (c->next)
                event_free(c->next);
        if (c->out)
                evbuffer_free(c->out);
        varlink_reader_done(&c->reader);
        json_decref(c->message);
        (void)fd_close(c->fd);
        free(c->groups);
        free(c);
}

bool client_may_upgrade(Client *c) {
        if (c->call.upgrade && !c->call.oneway)
                return true;
        client_error_object(c, ERROR_EXPECTED_UPGRADE, NULL);
        return false;
}

bool client_may_continue(Client *c) {
        if (c->call.more && !c->call.oneway)
                return true;
        client_error_object(c, ERROR_EXPECTED_MORE, NULL);
        return false;
}

static void client_give_away(Client *c, int *ret_fd, const char **ret_rest, size_t *ret_n_rest) {
        *ret_rest = varlink_reader_rest(&c->reader, ret_n_rest);
        hangup_cancel(&c->gone);
        *ret_fd = TAKE_FD(c->fd);
        client_end(c);
}

int client_upgrade(Client *c, json_t *parameters, int *ret_fd, const char **ret_rest, size_t *ret_n_rest) {
        assert(c->call.upgrade);

        client_send_consume(c, varlink_reply_new(parameters, false));
        if (c->ended || evbuffer_get_length(c->out) > 0) {
                client_end(c);
                return -EPIPE;
        }
        client_give_away(c, ret_fd, ret_rest, ret_n_rest);
        return 0;
}

int client_hand_over(Client *c, json_t *parameters, struct evbuffer *reply, int *ret_fd, const char **ret_rest,
                     size_t *ret_n_rest) {
        _cleanup_free_ char *text = NULL;
        size_t n;

        assert(c->call.upgrade);

        if (varlink_encode_consume(varlink_reply_new(parameters, false), &text, &n) < 0 || evbuffer_add(reply, text, n) < 0) {
                client_end(c);
                return -ENOMEM;
        }
        client_give_away(c, ret_fd, ret_rest, ret_n_rest);
        return 0;
}
