/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/editor.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <readline/readline.h>

#include "cli/buffer.h"
#include "cli/filter.h"
#include "cli/history.h"
#include "cli/terminal.h"
#include "lib/cleanup.h"

/* An unfinished line of output that is longer gets a line of its own. */
#define TAIL_MAX 512U

static EditorHandler line_handler;
static EditorCompleter line_completer;
static void *line_userdata;
static Filter output_filter;
static Buffer tail;        /* output since the last line end, already safe */
static Buffer prompt_text; /* safe as well */
static bool active;
static Buffer keys; /* read, but not yet looked at by readline */
static bool keys_ended;
static Buffer asked; /* what a tab was typed behind, and not yet answered */

static void write_out(const char *data, size_t n) {
        if (n == 0)
                return;
        (void)fwrite(data, 1, n, stdout);
        (void)fflush(stdout);
}

/* readline must be told which bytes take no room: the colour sequences. */
static void append_marked(Buffer *out, const Buffer *text) {
        static const char begin[] = { RL_PROMPT_START_IGNORE }, end[] = { RL_PROMPT_END_IGNORE };

        for (size_t i = 0; i < text->n;) {
                const char *stop;
                size_t n = 1;

                if (text->data[i] == '\x1b') {
                        stop = memchr(text->data + i, 'm', text->n - i);
                        assert(stop); /* the filter passes whole sequences only */
                        n = (size_t)(stop - text->data) - i + 1;
                        buffer_append(out, begin, 1);
                        buffer_append(out, text->data + i, n);
                        buffer_append(out, end, 1);
                } else {
                        buffer_append(out, text->data + i, n);
                }
                i += n;
        }
}

/* The unfinished output, normal colours, the prompt. */
static void build_prompt(Buffer *out) {
        static const Buffer normal = { .data = (char *)"\x1b[0m", .n = 4 };

        append_marked(out, &tail);
        if (output_filter.coloured)
                append_marked(out, &normal);
        append_marked(out, &prompt_text);
}

/* Draws prompt and line where the cursor is, at the beginning of a line. */
static void draw(void) {
        _cleanup_(buffer_done) Buffer prompt = {};

        build_prompt(&prompt);
        (void)rl_set_prompt(buffer_string(&prompt));
        (void)rl_on_new_line();
        rl_redisplay();
}

/* readline asks when it is called back, and seldom for more than one key. */
static int get_key(FILE *stream) {
        struct pollfd p = { .fd = terminal_input(), .events = POLLIN };
        uint8_t key;

        while (keys.n == 0 && !keys_ended) {
                ssize_t n;

                (void)poll(&p, 1, -1);
                n = read(p.fd, &key, 1);
                if (n > 0)
                        buffer_append(&keys, &key, 1);
                keys_ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
        }
        if (keys.n == 0)
                return EOF;
        key = (uint8_t)keys.data[0];
        buffer_drop(&keys, 1);
        return key;
}

static int have_key(void) {
        return keys.n > 0;
}

static void on_line(char *line) {
        rl_callback_handler_remove();
        active = false;
        tail.n = 0;
        if (line)
                history_note(line);
        else
                write_out("\n", 1);
        line_handler(line_userdata, line);
        free(line);
}

/* At the beginning of a line it indents, and in what is pasted it stays. */
static int on_tab(int count, int key) {
        struct pollfd p = { .fd = terminal_input(), .events = POLLIN };
        size_t n = (size_t)rl_point;

        if (!line_completer || strspn(rl_line_buffer, " \t") >= n || keys.n > 0 || poll(&p, 1, 0) > 0)
                return rl_insert(count, key);
        asked.n = 0;
        buffer_append(&asked, rl_line_buffer, n);
        line_completer(line_userdata, asked.data, asked.n);
        return 0;
}

void editor_open(EditorHandler handler, EditorCompleter completer, void *userdata) {
        line_handler = handler;
        line_completer = completer;
        line_userdata = userdata;

        rl_readline_name = "manholectl";
        rl_instream = stdin;
        rl_outstream = stdout;
        rl_catch_signals = 0; /* terminal.c's */
        rl_catch_sigwinch = 0;
        rl_inhibit_completion = 1; /* of file names */
        rl_getc_function = get_key;
        rl_input_available_hook = have_key;
        (void)rl_initialize();
        /* Pasted lines are lines: each is sent, and answered, by itself. */
        (void)rl_variable_bind("enable-bracketed-paste", "off");
        (void)rl_bind_key('\t', on_tab);
        history_open();
}

void editor_close(void) {
        _cleanup_(buffer_done) Buffer rest = {};

        if (active) {
                (void)rl_clear_visible_line();
                rl_callback_handler_remove();
                active = false;
                write_out(tail.data, tail.n);
        }
        filter_finish(&output_filter, &rest);
        write_out(rest.data, rest.n);
        if (tail.n > 0 || rest.n > 0)
                write_out("\n", 1);
        history_close();
        buffer_done(&tail);
        buffer_done(&prompt_text);
        buffer_done(&keys);
        buffer_done(&asked);
}

/* Output while nothing is edited goes straight out; what is left of the last line is remembered. */
static void print_below(const Buffer *safe) {
        const char *end = safe->n > 0 ? memrchr(safe->data, '\n', safe->n) : NULL;
        size_t n = end ? (size_t)(end - safe->data) + 1 : 0;

        write_out(safe->data, safe->n);
        if (end)
                tail.n = 0;
        buffer_append(&tail, safe->data + n, safe->n - n);
}

static void print_above(const Buffer *safe) {
        const char *end;
        size_t n;

        buffer_append(&tail, safe->data, safe->n);
        end = memrchr(tail.data, '\n', tail.n);
        n = end ? (size_t)(end - tail.data) + 1 : 0;
        if (tail.n - n > TAIL_MAX) {
                buffer_append(&tail, "\n", 1);
                n = tail.n;
        }

        (void)rl_clear_visible_line();
        write_out(tail.data, n);
        buffer_drop(&tail, n);
        draw();
}

static void print_safe(const Buffer *safe) {
        if (safe->n == 0)
                return;
        if (active)
                print_above(safe);
        else
                print_below(safe);
}

void editor_print(const void *data, size_t n) {
        _cleanup_(buffer_done) Buffer safe = {};

        filter_feed(&output_filter, data, n, &safe);
        print_safe(&safe);
}

/* Foreign text becomes part of the line: only what is certainly a name. */
static bool is_name(const char *name) {
        static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

        return name[0] && !name[strspn(name, letters)];
}

void editor_complete(const char *const *names, size_t n_names, size_t n_begun) {
        _cleanup_(buffer_done) Buffer list = {};
        const char *first = NULL;
        size_t n_common = 0;

        if (!active || (size_t)rl_point != asked.n || asked.n < n_begun ||
            memcmp(rl_line_buffer, asked.data, asked.n) != 0)
                return;
        for (size_t i = 0; i < n_names; i++) {
                if (!is_name(names[i]) || strlen(names[i]) < n_begun ||
                    memcmp(names[i], asked.data + asked.n - n_begun, n_begun) != 0)
                        continue;
                if (first)
                        while (strncmp(first, names[i], n_common) != 0)
                                n_common--;
                else
                        n_common = strlen(names[i]);
                first = first ? first : names[i];
                buffer_append(&list, names[i], strlen(names[i]));
                buffer_append(&list, "  ", 2);
        }
        asked.n = 0;
        if (n_common > n_begun) {
                _cleanup_free_ char *rest = strndup(first + n_begun, n_common - n_begun);

                if (rest)
                        (void)rl_insert_text(rest);
                rl_redisplay();
        } else if (first && list.n > n_common + 2) {
                list.data[list.n - 2] = '\n';
                editor_print(list.data, list.n - 1);
        }
}

/* readline cannot know how wide a tab came out, nor draw over lines that were wrapped. */
static bool tail_can_stay(void) {
        int rows, columns;

        rl_get_screen_size(&rows, &columns);
        return tail.n < TAIL_MAX && columns > 0 && tail.n < (size_t)columns &&
               !memchr(tail.data, '\t', tail.n);
}

static void begin(void) {
        _cleanup_(buffer_done) Buffer prompt = {};

        if (tail.n > 0 && !tail_can_stay()) {
                write_out("\n", 1);
                tail.n = 0;
        }
        build_prompt(&prompt);
        /* The tail is on the screen already: erased, it is drawn again as a part of the prompt. */
        write_out("\r\x1b[K", tail.n > 0 ? 4 : 1);
        rl_callback_handler_install(buffer_string(&prompt), on_line);
        active = true;
}

void editor_prompt(const char *prompt, size_t n) {
        _cleanup_(buffer_done) Buffer safe = {}, late = {};
        Filter filter = FILTER_INIT;
        const char *end;

        /* A character that is still cut short will not be completed by a prompt. */
        filter_finish(&output_filter, &late);
        print_safe(&late);

        filter_feed(&filter, prompt, n, &safe);
        filter_finish(&filter, &safe);
        end = safe.n > 0 ? memrchr(safe.data, '\n', safe.n) : NULL;
        if (end) { /* readline's prompt is one line */
                Buffer lines = { .data = safe.data, .n = (size_t)(end - safe.data) + 1 };

                print_safe(&lines);
                buffer_drop(&safe, lines.n);
        }
        prompt_text.n = 0;
        buffer_append(&prompt_text, safe.data, safe.n);

        if (active) {
                (void)rl_clear_visible_line();
                draw();
        } else {
                begin();
        }
}

bool editor_active(void) {
        return active;
}

/* One key at a time: what is typed behind the end of the line is left to the terminal. */
void editor_read(void) {
        char key;
        ssize_t n;

        assert(active);
        n = read(terminal_input(), &key, 1);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n > 0)
                buffer_append(&keys, &key, 1);
        else
                keys_ended = true;
        do
                rl_callback_read_char();
        while (active && keys.n > 0);
}

void editor_clear(void) {
        assert(active);
        rl_echo_signal_char(SIGINT);
        rl_callback_sigcleanup(); /* leaves a search in the history */
        rl_free_line_state();
        rl_callback_handler_remove();
        active = false;
        write_out("\n", 1);
        begin(); /* with the tail: where prompts come as output, it is the prompt */
}

void editor_resize(void) {
        if (active)
                rl_resize_terminal();
}

void editor_suspend(void) {
        if (active)
                rl_cleanup_after_signal();
}

void editor_resume(void) {
        if (!active)
                return;
        rl_reset_after_signal();
        draw();
}
