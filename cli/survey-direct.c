/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The way to the targets without manholed: see survey.h. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/buffer.h"
#include "cli/deadline.h"
#include "cli/direct.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/message.h"
#include "cli/process.h"
#include "cli/session.h"
#include "cli/survey.h"
#include "lib/cleanup.h"
#include "lib/fd.h"

#define REQUEST_ID 1U
#define ANSWER_USEC (2 * USEC_PER_SEC)
#define COMM_MAX 64U

typedef struct Call {
        Session session;
        Survey *survey;
        size_t item;
        bool waits;
} Call;

static void fail(Call *c, int status) {
        if (c->survey->status == EXIT_DONE)
                c->survey->status = status;
        c->waits = false;
}

static json_t *target_of(pid_t pid, const char *name) {
        _cleanup_free_ char *comm = NULL;
        char path[32];
        size_t n = 0;
        json_t *target;

        (void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
        if (fd_read_file(AT_FDCWD, path, COMM_MAX, &comm, &n) == 0 && n > 0)
                n--; /* the line end */
        target = json_pack("{s:i, s:o, s:o}", "pid", (int)pid, "comm", json_bytes(comm, n), "socket",
                           json_bytes(name, strlen(name)));
        if (!target)
                message_out_of_memory();
        return target;
}

static void on_frame(void *userdata, uint32_t type, uint32_t id, const char *payload, size_t n) {
        Call *c = userdata;
        const char *name = c->survey->names[c->item], *error, *text;
        json_t *answer;

        if (!c->waits || type != CONSOLE_ANSWER || id != REQUEST_ID)
                return;
        answer = json_loadb(payload, n, JSON_REJECT_DUPLICATES, NULL);
        error = json_string_value(json_object_get(answer, "error"));
        text = json_string_value(json_object_get(answer, "message"));
        if (!json_is_object(answer) || error) {
                message_error("%s: no answer: %s", name, !error ? "it is not JSON" : text ? text : error);
                fail(c, EXIT_FAILED);
                json_decref(answer);
                return;
        }
        (void)json_object_set_new(answer, "target", target_of(c->session.pid, name));
        c->survey->answers[c->item] = answer;
        c->waits = false;
}

/* Connects, and asks. The agent greets whatever its interpreter does. */
static void begin(Call *c, ConsoleRequest request, const char *payload) {
        const char *name = c->survey->names[c->item];
        pid_t pid = direct_pid(name);
        int r;

        if (pid > 0 && process_lacks_agent(pid)) {
                message_error("process %d has not manholed's agent, which alone can be asked without "
                              "opening a console",
                              (int)pid);
                fail(c, EXIT_FAILED);
                return;
        }
        r = session_open_direct(&c->session, name, DEADLINE_NEVER);
        if (r != EXIT_DONE) {
                fail(c, r);
                return;
        }
        if (!c->session.channel.framed) {
                message_error("%s: no answer", name);
                fail(c, EXIT_TIMED_OUT);
                return;
        }
        channel_send(&c->session.channel, request, REQUEST_ID, payload, strlen(payload));
        c->waits = true;
}

static bool step(Call *calls, struct pollfd *fds, size_t n, uint64_t deadline) {
        struct timespec ts;
        bool waits = false;

        for (size_t i = 0; i < n; i++) {
                Channel *channel = &calls[i].session.channel;

                (void)channel_flush(channel);
                waits |= calls[i].waits;
                fds[i] = (struct pollfd){ .fd = calls[i].waits ? channel->fd : -1,
                                          .events = channel_events(channel) };
        }
        if (!waits || ppoll(fds, n, deadline_left(deadline, &ts), NULL) <= 0)
                return waits && deadline_now() < deadline;
        for (size_t i = 0; i < n; i++) {
                int r = fds[i].revents ? channel_read(&calls[i].session.channel, on_frame, &calls[i]) : 0;

                if (r == 0 || !calls[i].waits)
                        continue;
                message_error("%s: no answer: %s", calls[i].survey->names[i], channel_error_text(r));
                fail(&calls[i], EXIT_FAILED);
        }
        return true;
}

void survey_run_direct(Survey *s, ConsoleRequest request, const char *payload) {
        Call *calls = calloc(s->n + 1, sizeof(*calls));
        struct pollfd *fds = calloc(s->n + 1, sizeof(*fds));
        uint64_t deadline;

        s->answers = calloc(s->n + 1, sizeof(*s->answers));
        if (!calls || !fds || !s->answers)
                message_out_of_memory();
        for (size_t i = 0; i < s->n; i++) {
                calls[i] = (Call){ .session = SESSION_INIT, .survey = s, .item = i };
                begin(&calls[i], request, payload);
        }
        deadline = deadline_in(ANSWER_USEC);
        while (step(calls, fds, s->n, deadline))
                ;
        for (size_t i = 0; i < s->n; i++) {
                if (calls[i].waits) {
                        message_error("%s: no answer", s->names[i]);
                        fail(&calls[i], EXIT_TIMED_OUT);
                }
                session_done(&calls[i].session);
        }
        free(calls);
        free(fds);
}
