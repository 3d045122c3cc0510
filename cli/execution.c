/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/execution.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/message.h"
#include "cli/process.h"
#include "cli/terminal.h"
#include "lib/cleanup.h"

#define EXECUTION_ID 1U
/* After an interrupt at the deadline: for the code to stop and say so. */
#define STOP_USEC USEC_PER_SEC

void execution_init(Execution *e, Channel *channel, bool printing) {
        *e = (Execution){ .channel = channel, .printing = printing };
        printer_init(&e->out, stdout);
        printer_init(&e->err, stderr);
}

void execution_done(Execution *e) {
        buffer_done(&e->kept_out);
        buffer_done(&e->kept_err);
        json_decref(e->end);
}

static void fail(Execution *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(Execution *e, const char *format, ...) {
        va_list args;

        e->failed = true;
        va_start(args, format);
        (void)vsnprintf(e->failure, sizeof(e->failure), format, args);
        va_end(args);
}

static void on_output(Execution *e, Printer *printer, Buffer *kept, const char *data, size_t n) {
        if (e->printing) {
                if (printer_write(printer, data, n) < 0)
                        fail(e, "%s", ""); /* output_finish() says why */
        } else if (n > EXECUTION_KEPT_MAX - kept->n) {
                fail(e, "more than %u bytes of output do not fit a report", EXECUTION_KEPT_MAX);
        } else {
                buffer_append(kept, data, n);
        }
}

static void on_answer(Execution *e, json_t *answer) {
        const char *error = json_string_value(json_object_get(answer, "error"));
        const char *text = json_string_value(json_object_get(answer, "message"));

        if (error)
                fail(e, "the code was not run: %s", text ? text : error);
}

static void on_end(Execution *e, json_t *end) {
        const char *reason = json_string_value(json_object_get(end, "reason"));

        if (reason && strcmp(reason, "done") == 0) {
                e->end = json_incref(end);
                e->ended = true;
        } else {
                fail(e, "the code did not run to its end: %s", reason ? reason : "no reason given");
        }
}

/* Who else is in the process is no news to code that runs. */
static void on_notice(Execution *e, json_t *notice) {
        const char *kind = json_string_value(json_object_get(notice, "kind"));
        const char *text = json_string_value(json_object_get(notice, "text"));

        if (kind && strcmp(kind, "end") == 0)
                fail(e, "the session was ended: %s", text ? text : "no reason given");
}

static void on_frame(void *userdata, uint32_t type, uint32_t id, const char *payload, size_t n) {
        Execution *e = userdata;
        json_t *object = NULL;

        if (e->ended || e->failed)
                return;
        if (type == CONSOLE_ANSWER || type == CONSOLE_END || type == CONSOLE_DROPPED ||
            type == CONSOLE_NOTICE)
                object = json_loadb(payload, n, 0, NULL);

        switch (type) {
        case CONSOLE_OUTPUT:
                on_output(e, &e->out, &e->kept_out, payload, n);
                break;
        case CONSOLE_STDERR:
                on_output(e, &e->err, &e->kept_err, payload, n);
                break;
        case CONSOLE_PROMPT: /* the code reads its standard input, which is empty */
                channel_send(e->channel, CONSOLE_INPUT, EXECUTION_ID, NULL, 0);
                break;
        case CONSOLE_ANSWER:
                on_answer(e, object);
                break;
        case CONSOLE_DROPPED:
                message_error("%lld bytes of output were dropped",
                              (long long)json_integer_value(json_object_get(object, "bytes")));
                break;
        case CONSOLE_END:
                on_end(e, object);
                break;
        case CONSOLE_NOTICE:
                on_notice(e, object);
                break;
        }
        json_decref(object);
}

static void interrupt(Execution *e) {
        e->n_interrupts++;
        channel_send(e->channel, CONSOLE_INTERRUPT, EXECUTION_ID, NULL, 0);
}

static int step(Execution *e, uint64_t deadline) {
        struct pollfd fd = { .fd = e->channel->fd };
        TerminalEvents events = {};
        int r;

        if (channel_ready(e->channel))
                return channel_read(e->channel, on_frame, e);
        r = channel_flush(e->channel);
        if (r < 0)
                return r;
        fd.events = channel_events(e->channel);
        r = terminal_poll(&fd, 1, deadline, &events);
        if (r < 0)
                return r;

        if (events.stop)
                terminal_stop();
        if (events.interrupt && e->n_interrupts > 0)
                terminal_die_interrupted(); /* code that does not mind the first must not hold the user */
        if (events.interrupt)
                interrupt(e);
        return fd.revents & (POLLIN | POLLHUP | POLLERR) ? channel_read(e->channel, on_frame, e) : 0;
}

/* Until it is over one way or the other, or the deadline. */
static void wait_for_end(Execution *e, uint64_t deadline, int pidfd) {
        while (!e->ended && !e->failed && deadline_now() < deadline) {
                int r = step(e, deadline);

                if (r == 0 || e->ended || e->failed)
                        continue;
                if (process_ended(pidfd))
                        fail(e, "the process has ended");
                else
                        fail(e, "the session is lost: %s", channel_error_text(r));
        }
}

/* What the prompt would show of the result, and what Python shows of an exception. */
static int conclude(Execution *e) {
        const char *result = json_string_value(json_object_get(e->end, "result"));
        json_t *status = json_object_get(e->end, "status"),
               *exception = json_object_get(e->end, "exception");
        const char *traceback = json_string_value(json_object_get(exception, "traceback"));
        const char *line_end = "\n";

        if (e->printing && result && strcmp(result, "None") != 0) {
                (void)printer_write(&e->out, result, strlen(result));
                (void)printer_write(&e->out, line_end, 1);
        }
        (void)printer_finish(&e->out);
        if (e->printing && traceback) {
                (void)printer_write(&e->err, traceback, strlen(traceback));
                if (*traceback && traceback[strlen(traceback) - 1] != '\n')
                        (void)printer_write(&e->err, line_end, 1);
        }
        (void)printer_finish(&e->err);

        if (json_is_object(exception))
                return EXIT_FAILED;
        if (!status || json_is_null(status))
                return EXIT_DONE;
        return json_is_integer(status) && json_integer_value(status) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int execution_run(Execution *e, pid_t pid, const char *code, size_t n, uint64_t deadline) {
        _cleanup_fd_ int pidfd = process_open(pid);
        bool timed_out;

        terminal_init();
        channel_send(e->channel, CONSOLE_EXEC, EXECUTION_ID, code, n);
        wait_for_end(e, deadline, pidfd);

        timed_out = !e->ended && !e->failed;
        if (timed_out) {
                interrupt(e);
                wait_for_end(e, deadline_in(STOP_USEC), pidfd);
        }
        if (e->failed) {
                (void)printer_finish(&e->out);
                (void)printer_finish(&e->err);
                if (e->failure[0])
                        message_error("%s", e->failure);
                return timed_out ? EXIT_TIMED_OUT : EXIT_FAILED;
        }
        if (timed_out) {
                if (e->ended)
                        (void)conclude(e);
                message_error(e->ended ? "timed out: the code was interrupted"
                                       : "timed out: the code was interrupted and still runs");
                return EXIT_TIMED_OUT;
        }
        return conclude(e);
}

json_t *execution_report(const Execution *e) {
        json_t *report = json_pack(
                "{s:O?, s:O?, s:O?, s:o, s:o}", "result", json_object_get(e->end, "result"), "status",
                json_object_get(e->end, "status"), "exception", json_object_get(e->end, "exception"),
                "output", json_bytes(e->kept_out.data, e->kept_out.n), "error",
                json_bytes(e->kept_err.data, e->kept_err.n));

        if (!report)
                message_out_of_memory();
        return report;
}
