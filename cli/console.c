/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/console.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/deadline.h"
#include "cli/editor.h"
#include "cli/exit-status.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/process.h"
#include "cli/terminal.h"
#include "lib/cleanup.h"

#define CONSOLE_ID 1U
#define READ_SIZE 65536

typedef struct Console {
        Channel *channel; /* borrowed */
        pid_t pid;
        uint32_t request;    /* of the console, in frames */
        const char *session; /* borrowed; may be NULL */
        bool terminal;       /* standard input and output are one */
        Printer printer;     /* when they are not */
        bool opened;         /* input is welcome */
        bool input_ended;    /* standard input has nothing more */
        size_t n_answers;    /* lines sent, and ends of input */
        size_t n_prompts;
        bool interrupted;       /* once already, without a terminal */
        uint32_t completion_id; /* of what was last asked to complete */
        size_t n_completed;     /* the text that was sent with it */
        bool over;
        int status;
        char farewell[512]; /* why it is over */
} Console;

static void console_end(Console *c, int status, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
static void console_end(Console *c, int status, const char *format, ...) {
        va_list args;

        c->over = true;
        c->status = status;
        va_start(args, format);
        (void)vsnprintf(c->farewell, sizeof(c->farewell), format, args);
        va_end(args);
}

static void print(Console *c, const void *data, size_t n) {
        if (c->terminal)
                editor_print(data, n);
        else if (printer_write(&c->printer, data, n) < 0)
                console_end(c, EXIT_FAILED, "%s", ""); /* output_finish() says why */
}

static void send_input(Console *c, const void *data, size_t n) {
        if (c->channel->framed)
                channel_send(c->channel, CONSOLE_INPUT, c->request, data, n);
        else
                channel_send_plain(c->channel, data, n);
}

static void send_end(Console *c) {
        c->n_answers++;
        if (c->channel->framed)
                channel_send(c->channel, CONSOLE_INPUT, c->request, NULL, 0);
        else
                channel_end_plain(c->channel);
}

static void on_line(void *userdata, const char *line) {
        Console *c = userdata;
        _cleanup_(buffer_done) Buffer text = {};

        if (!line) {
                send_end(c);
                return;
        }
        buffer_append(&text, line, strlen(line));
        buffer_append(&text, "\n", 1);
        send_input(c, text.data, text.n);
}

static void on_tab(void *userdata, const char *text, size_t n) {
        Console *c = userdata;

        do
                c->completion_id++;
        while (c->completion_id == 0 || c->completion_id == c->request);
        c->n_completed = n;
        channel_send(c->channel, CONSOLE_COMPLETE, c->completion_id, text, n);
}

/* An error means that there is nothing to show. */
static void on_completion(Console *c, json_t *answer) {
        json_t *matches = json_object_get(answer, "matches"), *match;
        json_int_t start = json_integer_value(json_object_get(answer, "start"));
        size_t n = json_array_size(matches), i;
        _cleanup_free_ const char **names = calloc(n + 1, sizeof(*names));

        if (!names || start < 0 || (size_t)start > c->n_completed)
                return;
        json_array_foreach(matches, i, match)
                names[i] = json_is_string(match) ? json_string_value(match) : "";
        editor_complete(names, n, c->n_completed - (size_t)start);
}

static void on_prompt(Console *c, const char *text, size_t n) {
        if (c->terminal) {
                editor_prompt(text, n);
                return;
        }
        print(c, text, n);
        /* Code that read the end of input itself has not ended the console: say it again. */
        if (++c->n_prompts > c->n_answers && c->input_ended)
                send_end(c);
}

/* A line of manholed's, or of ours about the console. */
static void print_notice(Console *c, const char *text) {
        _cleanup_free_ char *safe = escape_new(text), *line = NULL;

        if (asprintf(&line, "[%s]\n", safe) < 0)
                message_out_of_memory();
        if (c->terminal)
                editor_print(line, strlen(line));
        else
                (void)fputs(line, stderr);
}

static void on_dropped(Console *c, json_t *dropped) {
        char text[128];

        (void)snprintf(text, sizeof(text), "%lld bytes of output were dropped here",
                       (long long)json_integer_value(json_object_get(dropped, "bytes")));
        print_notice(c, text);
}

static void on_notice(Console *c, json_t *notice) {
        const char *kind = json_string_value(json_object_get(notice, "kind"));
        const char *text = json_string_value(json_object_get(notice, "text"));

        if (kind && strcmp(kind, "end") == 0)
                console_end(c, EXIT_FAILED, "the session was ended: %s", text ? text : "no reason given");
        else if (text)
                print_notice(c, text);
}

static void on_answer(Console *c, uint32_t id, json_t *answer) {
        const char *error = json_string_value(json_object_get(answer, "error"));
        const char *text = json_string_value(json_object_get(answer, "message"));

        if (id != 0 && id != c->request) {
                if (id == c->completion_id)
                        on_completion(c, answer);
        } else if (error) {
                console_end(c, EXIT_FAILED, "no console: %s", text ? text : error);
        } else if (id == 0 && !c->opened) {
                channel_send(c->channel, CONSOLE_OPEN, c->request, NULL, 0);
                c->opened = true;
        }
}

static void on_end(Console *c, json_t *end) {
        const char *reason = json_string_value(json_object_get(end, "reason"));

        if (reason && strcmp(reason, "eof") == 0)
                console_end(c, EXIT_DONE, "end of input; process %d goes on", (int)c->pid);
        else if (reason && strcmp(reason, "exit") == 0)
                console_end(c, EXIT_DONE, "exit() ended the console; process %d goes on", (int)c->pid);
        else if (reason && strcmp(reason, "stopping") == 0)
                console_end(c, EXIT_FAILED, "process %d is ending, and its console with it", (int)c->pid);
        else
                console_end(c, EXIT_FAILED, "the console was ended: %s",
                            reason ? reason : "no reason given");
}

static void on_frame(void *userdata, uint32_t type, uint32_t id, const char *payload, size_t n) {
        Console *c = userdata;
        json_t *object = NULL;

        if (c->over)
                return;
        if (type == CONSOLE_ANSWER || type == CONSOLE_DROPPED || type == CONSOLE_END ||
            type == CONSOLE_NOTICE)
                object = json_loadb(payload, n, 0, NULL);

        switch (type) {
        case CONSOLE_OUTPUT:
        case CONSOLE_STDERR:
                print(c, payload, n);
                break;
        case CONSOLE_PROMPT:
                on_prompt(c, payload, n);
                break;
        case CONSOLE_DROPPED:
                on_dropped(c, object);
                break;
        case CONSOLE_ANSWER:
                on_answer(c, id, object);
                break;
        case CONSOLE_END:
                on_end(c, object);
                break;
        case CONSOLE_NOTICE:
                on_notice(c, object);
                break;
        }
        json_decref(object);
}

static void on_lost(Console *c, int error, int pidfd) {
        bool waits = error == CHANNEL_E_EOF && c->session;

        if (process_ended(pidfd))
                console_end(c, EXIT_FAILED, "process %d has ended", (int)c->pid);
        else if (error == CHANNEL_E_EOF && !c->channel->framed)
                console_end(c, EXIT_DONE, "the console is closed; process %d goes on", (int)c->pid);
        else
                console_end(c, EXIT_FAILED, "the console is lost: %s%s%s", channel_error_text(error),
                            waits ? "; it may wait for: manholectl attach --resume " : "",
                            waits ? c->session : "");
}

static bool wants_input(const Console *c) {
        if (c->terminal)
                return editor_active();
        return c->opened && !c->input_ended && c->channel->waiting.n < CHANNEL_WAITING_MAX;
}

static void read_input(Console *c) {
        char bytes[READ_SIZE];
        ssize_t n;

        if (c->terminal) {
                editor_read();
                if (!c->channel->framed && !editor_active())
                        editor_prompt("", 0); /* plain bytes do not say when a line is wanted */
                return;
        }

        n = read(terminal_input(), bytes, sizeof(bytes));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n > 0) {
                for (ssize_t i = 0; i < n; i++)
                        c->n_answers += bytes[i] == '\n';
                send_input(c, bytes, (size_t)n);
        } else { /* an error ends the input as well */
                c->input_ended = true;
                send_end(c);
        }
}

static void on_events(Console *c, const TerminalEvents *events) {
        if (events->resized && c->terminal)
                editor_resize();
        if (events->stop) {
                if (c->terminal)
                        editor_suspend();
                terminal_stop();
                if (c->terminal)
                        editor_resume();
        }
        if (!events->interrupt)
                return;
        if (!c->terminal && (c->interrupted || !c->channel->framed))
                terminal_die_interrupted();
        c->interrupted = true;
        /* At the prompt too: lines of an unfinished statement wait in the process. */
        if (c->channel->framed)
                channel_send(c->channel, CONSOLE_INTERRUPT, c->request, NULL, 0);
        if (c->terminal && editor_active())
                editor_clear();
}

static int step(Console *c) {
        struct pollfd fds[] = {
                { .fd = c->channel->fd },
                { .fd = wants_input(c) ? terminal_input() : -1, .events = POLLIN },
        };
        TerminalEvents events = {};
        int r;

        if (channel_ready(c->channel))
                return channel_read(c->channel, on_frame, c);
        r = channel_flush(c->channel);
        if (r < 0)
                return r;
        fds[0].events = channel_events(c->channel);
        r = terminal_poll(fds, 2, DEADLINE_NEVER, &events);
        if (r < 0)
                return r;

        on_events(c, &events);
        if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
                r = channel_read(c->channel, on_frame, c);
        else
                r = 0;
        if (r == 0 && !c->over && fds[1].revents && wants_input(c))
                read_input(c);
        return r;
}

int console_run(Channel *channel, pid_t pid, uint32_t request, const char *session) {
        _cleanup_fd_ int pidfd = process_open(pid);
        Console c = { .channel = channel,
                      .pid = pid,
                      .request = request ?: CONSOLE_ID,
                      .session = session,
                      .opened = !channel->framed || request != 0 };

        c.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
        terminal_init();
        if (c.terminal)
                editor_open(on_line, channel->framed ? on_tab : NULL, &c);
        else
                printer_init(&c.printer, stdout);
        if (c.terminal && !channel->framed)
                editor_prompt("", 0);

        while (!c.over) {
                int r = step(&c);

                if (r != 0)
                        on_lost(&c, r, pidfd);
        }

        if (c.terminal)
                editor_close();
        else
                (void)printer_finish(&c.printer);
        if (c.farewell[0])
                message_error("%s", c.farewell);
        return c.status;
}
