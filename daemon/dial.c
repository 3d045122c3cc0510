/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/dial.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/errors.h"
#include "daemon/identity.h"
#include "daemon/inspector.h"
#include "daemon/log.h"
#include "daemon/recorder.h"
#include "lib/cleanup.h"

/* Our agent greets within milliseconds. Silence is the pure-Python package, which waits for the
 * interpreter before it says anything. */
static const struct timeval GREETING_WITHIN = { .tv_sec = 2 };
/* A full backlog, or a socket between bind() and listen(): try again, for so long. */
static const struct timeval RETRY = { .tv_usec = 20 * 1000 };
#define CONNECT_WITHIN_USEC (2U * 1000U * 1000U)
/* manholed-priv is at once, unless a file system holds it up. */
static const struct timeval PRIV_WITHIN = { .tv_sec = 5 };

void dial_cancel(Dial *d) {
        priv_call_cancel(&d->call);
        if (d->timer)
                (void)event_del(d->timer);
        if (d->greeting)
                (void)event_del(d->greeting);
        d->fd = fd_close(d->fd);
}

static void dial_fail(Dial *d, const char *error, const char *reason) {
        dial_cancel(d);
        d->handler->failed(d, error, reason);
}

static void dial_succeed(Dial *d, DialFace face) {
        int fd = TAKE_FD(d->fd);

        dial_cancel(d);
        d->handler->connected(d, fd, face);
}

static void dial_on_greeting(evutil_socket_t fd, short what, void *userdata) {
        Dial *d = userdata;
        uint8_t first;
        ssize_t n;

        if (what & EV_TIMEOUT) {
                dial_succeed(d, DIAL_SILENT);
                return;
        }
        n = recv(fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0)
                dial_fail(d, ERROR_TARGET_GONE, "the target closed the connection at once");
        else
                dial_succeed(d, first == 0 ? DIAL_FRAMED : DIAL_PLAIN);
}

static void dial_refuse(Dial *d, int verdict) {
        if (verdict == IDENTITY_E_GONE) {
                dial_fail(d, ERROR_TARGET_GONE, "the process or its manhole has ended");
                return;
        }
        /* Of one that has just changed nothing is known but that it must be judged anew. */
        if (verdict == IDENTITY_E_OTHER_PROCESS || verdict == IDENTITY_E_OTHER_USER) {
                d->target->state = TARGET_UNTRUSTED;
                d->target->impostor = true;
        }
        dial_fail(d, ERROR_TARGET_UNTRUSTED, identity_reason(verdict));
}

static void dial_on_connected(PrivCall *call, int error, int fd, void *userdata) {
        Dial *d = userdata;
        int r;

        (void)event_del(d->timer);
        if (error == -EAGAIN || error == -ECONNREFUSED) {
                if (recorder_clock() - d->since < CONNECT_WITHIN_USEC)
                        (void)event_add(d->timer, &RETRY);
                else
                        dial_fail(d, ERROR_TARGET_GONE, error == -EAGAIN ?
                                  "too many clients are waiting for the target" : "nobody listens");
                return;
        }
        if (error < 0) {
                log_warning("Cannot connect to %s: %s", d->target->path, strerror(-error));
                dial_fail(d, ERROR_TARGET_GONE, strerror(-error));
                return;
        }
        d->fd = fd;
        r = identity_check(fd, d->target, &d->ids);
        if (r != 0) {
                dial_refuse(d, r);
                return;
        }
        if (!d->wants_frames) {
                dial_succeed(d, DIAL_PLAIN);
                return;
        }
        d->greeting = event_new(event_get_base(d->timer), fd, EV_READ | EV_PERSIST, dial_on_greeting, d);
        if (!d->greeting || event_add(d->greeting, &GREETING_WITHIN) < 0)
                dial_fail(d, ERROR_TARGET_GONE, "the daemon is out of memory");
}

/* The agent shall see the client's own uid, when that is enough for it. Root is nobody to one in a user
 * namespace that does not map it: that one sees its own. A file without a mode says that only root gets
 * in. */
static uid_t dial_uid(const Dial *d) {
        uid_t owner = d->target->file.st_uid;

        if (owner != d->ids.euid || (d->target->file.st_mode & S_IWUSR) == 0)
                return geteuid();
        return d->uid == owner || proc_knows_root(d->target->pid) == 0 ? owner : geteuid();
}

static void dial_connect(Dial *d) {
        _cleanup_fd_ int fd = inspector_open(d->target);

        if (fd < 0)
                dial_fail(d, ERROR_TARGET_GONE, "the process or its manhole has ended");
        else if (priv_connect(d->priv, &d->call, fd, dial_uid(d), d->wants_frames, dial_on_connected, d) < 0)
                dial_fail(d, ERROR_TARGET_GONE, "the daemon is out of descriptors");
        else
                (void)event_add(d->timer, &PRIV_WITHIN);
}

static void dial_on_timer(evutil_socket_t fd, short what, void *userdata) {
        Dial *d = userdata;

        if (d->call.priv)
                dial_fail(d, ERROR_TARGET_GONE, "manholed-priv does not answer");
        else
                dial_connect(d);
}

int dial_init(Dial *d, struct event_base *loop, Priv *priv, const DialHandler *handler) {
        *d = (Dial){ .handler = handler, .priv = priv, .fd = -1 };
        d->timer = event_new(loop, -1, 0, dial_on_timer, d);
        return d->timer ? 0 : -ENOMEM;
}

void dial_done(Dial *d) {
        if (!d->handler)
                return;
        dial_cancel(d);
        if (d->timer)
                event_free(d->timer);
        if (d->greeting)
                event_free(d->greeting);
        *d = (Dial){};
}

void dial_begin(Dial *d, Target *target, const ProcStatus *ids, uid_t uid, bool wants_frames) {
        d->target = target;
        d->ids = *ids;
        d->uid = uid;
        d->wants_frames = wants_frames;
        d->since = recorder_clock();
        (void)event_add(d->timer, &(struct timeval){});
}
