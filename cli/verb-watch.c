/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manholectl watch: what somebody's session shows and what is typed in it, until it ends. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/channel.h"
#include "cli/connection.h"
#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/target.h"
#include "lib/cleanup.h"

#define ANSWER_USEC (30 * USEC_PER_SEC)
/* What was typed, told from what was shown. */
#define BOLD "\x1b[1m"
#define NORMAL "\x1b[0m"

typedef struct Watch {
        Printer printer;
        bool colours, over;
} Watch;

static void print(Watch *w, const char *data, size_t n) {
        if (printer_write(&w->printer, data, n) < 0)
                w->over = true; /* output_finish() says why */
}

static void print_typed(Watch *w, const char *data, size_t n) {
        if (w->colours)
                print(w, BOLD, strlen(BOLD));
        print(w, data, n);
        if (w->colours)
                print(w, NORMAL, strlen(NORMAL));
}

static void on_notice(Watch *w, json_t *notice) {
        const char *text = json_string_value(json_object_get(notice, "text"));

        message_error("the session has ended: %s", text ? text : "no reason given");
        w->over = true;
}

static void on_frame(void *userdata, uint32_t type, uint32_t id, const char *payload, size_t n) {
        Watch *w = userdata;
        json_t *object = NULL;

        if (w->over)
                return;
        if (type == CONSOLE_DROPPED || type == CONSOLE_NOTICE)
                object = json_loadb(payload, n, 0, NULL);

        switch (type) {
        case CONSOLE_OUTPUT:
        case CONSOLE_STDERR:
        case CONSOLE_PROMPT:
                print(w, payload, n);
                break;
        case CONSOLE_TYPED:
                print_typed(w, payload, n);
                break;
        case CONSOLE_DROPPED:
                (void)fprintf(stderr, "[%lld bytes are left out here]\n",
                              (long long)json_integer_value(json_object_get(object, "bytes")));
                break;
        case CONSOLE_NOTICE:
                on_notice(w, object);
                break;
        }
        json_decref(object);
}

/* One call of channel_read(), when there is something. */
static int step(Channel *channel, Watch *w) {
        struct pollfd fd = { .fd = channel->fd, .events = POLLIN };

        if (!channel_ready(channel) && poll(&fd, 1, -1) < 0)
                return errno == EINTR ? 0 : -errno;
        return channel_read(channel, on_frame, w);
}

static void introduce(json_t *session) {
        _cleanup_free_ char *id = target_text(session, "session"), *user = target_user(session),
                            *comm = target_text(session, "comm"), *pid = target_text(session, "pid"),
                            *since = target_text(session, "since");

        (void)fprintf(stderr, "Session %s of %s in %s(%s) since %s. Nothing you type gets there.\n", id,
                      user, comm, pid, since);
}

static int watch(Channel *channel) {
        Watch w = { .colours = isatty(STDOUT_FILENO) == 1 };
        int r = 0;

        printer_init(&w.printer, stdout);
        while (!w.over && r == 0)
                r = step(channel, &w);
        (void)printer_finish(&w.printer);
        if (w.over)
                return EXIT_DONE;
        message_error("the session is lost: %s", channel_error_text(r));
        return EXIT_FAILED;
}

int verb_watch(const Options *options, int n_words, char **words) {
        _cleanup_(connection_done) Connection connection = CONNECTION_INIT;
        json_t *parameters = json_pack("{s:o, s:b}", "session", json_bytes(words[0], strlen(words[0])),
                                       "framed", true),
               *reply = NULL;
        Channel channel = CHANNEL_INIT;
        const char *rest;
        size_t n_rest;
        int r;

        r = connection_open(&connection, options->control);
        if (r != EXIT_DONE) {
                json_decref(parameters);
                return r;
        }
        r = connection_upgrade(&connection, "Mirror", parameters, deadline_in(ANSWER_USEC), &reply);
        if (r != EXIT_DONE)
                return r;
        introduce(json_object_get(reply, "session"));
        json_decref(reply);
        rest = varlink_reader_rest(&connection.reader, &n_rest);
        channel_init_consume(&channel, TAKE_FD(connection.fd), true, rest, n_rest);
        r = watch(&channel);
        channel_done(&channel);
        return r;
}
