/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/connection.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/buffer.h"
#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/message.h"
#include "lib/cleanup.h"
#include "lib/fd.h"

#define INTERFACE "org.manholed.Broker."
#define SYSTEM_CONTROL "/run/manholed/control"
#define REPLY_MAX (16U * 1024U * 1024U)

char *connection_default_control(void) {
        const char *runtime = getenv("XDG_RUNTIME_DIR");
        _cleanup_free_ char *own = NULL;
        bool system_wide;
        char *control;

        if (runtime && asprintf(&own, "%s/manholed/control", runtime) < 0)
                message_out_of_memory();
        system_wide = geteuid() == 0 || !own || (access(own, F_OK) < 0 && access(SYSTEM_CONTROL, F_OK) == 0);
        control = strdup(system_wide ? SYSTEM_CONTROL : own);
        if (!control)
                message_out_of_memory();
        return control;
}

int connection_open(Connection *c, const char *control) {
        _cleanup_fd_ int fd = -1;
        int r;

        r = fd_connect_unix(control, &fd);
        if (r == 0)
                r = fd_set_nonblock(fd, true);
        if (r < 0) {
                message_error("cannot connect to manholed at %s: %s", control, strerror(-r));
                return r == -EACCES || r == -EPERM ? EXIT_REFUSED : EXIT_FAILED;
        }
        c->fd = TAKE_FD(fd);
        varlink_reader_init(&c->reader, REPLY_MAX);
        return EXIT_DONE;
}

void connection_done(Connection *c) {
        c->fd = fd_close(c->fd);
        varlink_reader_done(&c->reader);
}

static void say(const Connection *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const Connection *c, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list args;
        int n;

        va_start(args, format);
        n = vasprintf(&text, format, args);
        va_end(args);
        if (n < 0)
                message_out_of_memory();
        message_error("%s%s%s", c->about ? c->about : "", c->about ? ": " : "", text);
}

static int say_lost(const Connection *c, int error) {
        if (error == 0 || error == -ECONNRESET || error == -EPIPE)
                say(c, "manholed ended the connection without an answer");
        else
                say(c, "lost the connection to manholed: %s", strerror(-error));
        return EXIT_FAILED;
}

static int wait_ready(Connection *c, short events, uint64_t deadline) {
        struct pollfd p = { .fd = c->fd, .events = events };
        struct timespec ts;
        int n;

        do
                n = ppoll(&p, 1, deadline_left(deadline, &ts), NULL);
        while (n < 0 && errno == EINTR);
        if (n == 0) {
                say(c, "manholed does not answer");
                return EXIT_TIMED_OUT;
        }
        return EXIT_DONE;
}

static int send_all(Connection *c, const char *data, size_t n, uint64_t deadline) {
        while (n > 0) {
                ssize_t k = send(c->fd, data, n, MSG_NOSIGNAL);

                if (k >= 0) {
                        data += k;
                        n -= (size_t)k;
                } else if (errno == EAGAIN) {
                        int r = wait_ready(c, POLLOUT, deadline);

                        if (r != EXIT_DONE)
                                return r;
                } else if (errno == EPIPE || errno == ECONNRESET) {
                        return EXIT_DONE; /* a last word may be there to read: why it was refused */
                } else if (errno != EINTR) {
                        return say_lost(c, -errno);
                }
        }
        return EXIT_DONE;
}

static int receive(Connection *c, uint64_t deadline, json_t **ret) {
        for (;;) {
                char *room;
                size_t n;
                ssize_t k;
                int r;

                r = varlink_reader_next(&c->reader, ret);
                if (r == 0 && *ret)
                        return EXIT_DONE;
                if (r == 0)
                        r = varlink_reader_room(&c->reader, &room, &n);
                if (r == -ENOMEM)
                        message_out_of_memory();
                if (r != 0) {
                        say(c, "the answer is not manholed's: %s",
                            r == VARLINK_E_TOO_LARGE ? "too long" : "not a Varlink message");
                        return EXIT_FAILED;
                }

                k = recv(c->fd, room, n, 0);
                if (k > 0) {
                        varlink_reader_added(&c->reader, (size_t)k);
                } else if (k == 0) {
                        return say_lost(c, 0);
                } else if (errno == EAGAIN) {
                        r = wait_ready(c, POLLIN, deadline);
                        if (r != EXIT_DONE)
                                return r;
                } else if (errno != EINTR) {
                        return say_lost(c, -errno);
                }
        }
}

static int say_error(const Connection *c, const VarlinkReply *reply) {
        static const struct {
                const char *error;
                ExitStatus status;
        } errors[] = {
                { "org.manholed.NoSuchTarget", EXIT_NO_TARGET },
                { "org.manholed.NoSuchSession", EXIT_NO_TARGET },
                { "org.manholed.AmbiguousTarget", EXIT_NO_TARGET },
                { "org.manholed.NotAuthorized", EXIT_REFUSED },
                { "org.manholed.TargetUntrusted", EXIT_REFUSED },
                { "org.manholed.TargetGone", EXIT_FAILED },
                { "org.manholed.TooManySessions", EXIT_FAILED },
                { "org.manholed.RecorderUnavailable", EXIT_FAILED },
                { "org.manholed.SessionEnded", EXIT_FAILED },
                { "org.manholed.Unsupported", EXIT_FAILED },
                { "org.manholed.TimedOut", EXIT_TIMED_OUT },
        };
        const char *reason = json_string_value(json_object_get(reply->parameters, "reason"));
        _cleanup_free_ char *parameters = NULL;

        for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
                if (strcmp(reply->error, errors[i].error) == 0) {
                        say(c, "%s", reason ? reason : reply->error);
                        return errors[i].status;
                }

        parameters = reply->parameters ? json_dumps(reply->parameters, JSON_COMPACT) : NULL;
        say(c, "manholed answers %s %s", reply->error, parameters ? parameters : "");
        return EXIT_FAILED;
}

static int send_call(Connection *c, const char *method, json_t *parameters, bool more, bool upgrade,
                     uint64_t deadline) {
        _cleanup_free_ char *name = NULL, *text = NULL;
        size_t n;

        if (!parameters || asprintf(&name, INTERFACE "%s", method) < 0 ||
            varlink_encode_consume(varlink_call_new(name, parameters, more, upgrade), &text, &n) < 0)
                message_out_of_memory();
        return send_all(c, text, n, deadline);
}

int connection_receive(Connection *c, uint64_t deadline, json_t **ret) {
        json_t *message = NULL;
        VarlinkReply reply;
        int r;

        r = receive(c, deadline, &message);
        if (r != EXIT_DONE) {
                connection_done(c);
                return r;
        }
        if (varlink_reply_parse(message, &reply) != 0) {
                say(c, "the answer is not manholed's: not a Varlink reply");
                connection_done(c);
                r = EXIT_FAILED;
        } else if (reply.error) {
                r = say_error(c, &reply);
        } else {
                *ret = reply.parameters ? json_incref(reply.parameters) : json_object();
        }
        json_decref(message);
        return r;
}

int connection_send(Connection *c, const char *method, json_t *parameters, uint64_t deadline) {
        return send_call(c, method, parameters, false, false, deadline);
}

int connection_send_more(Connection *c, const char *method, json_t *parameters, uint64_t deadline) {
        return send_call(c, method, parameters, true, false, deadline);
}

int connection_call(Connection *c, const char *method, json_t *parameters, uint64_t deadline, json_t **ret) {
        int r = connection_send(c, method, parameters, deadline);

        return r == EXIT_DONE ? connection_receive(c, deadline, ret) : r;
}

int connection_upgrade(Connection *c, const char *method, json_t *parameters, uint64_t deadline,
                       json_t **ret) {
        int r = send_call(c, method, parameters, false, true, deadline);

        return r == EXIT_DONE ? connection_receive(c, deadline, ret) : r;
}
