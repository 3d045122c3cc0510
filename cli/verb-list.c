/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manholectl list: the processes with a manhole that the caller may see. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/connection.h"
#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/pager.h"
#include "cli/table.h"
#include "cli/target.h"
#include "lib/cleanup.h"

#define ANSWER_USEC (30 * USEC_PER_SEC)
#define LINES_AROUND 3U /* heading, blank line, footer */

static const TableColumn columns[] = {
        { "PID", TABLE_RIGHT },      { "USER", TABLE_LEFT },   { "UNIT", TABLE_SHRINK },
        { "COMMAND", TABLE_SHRINK }, { "PYTHON", TABLE_LEFT }, { "STATE", TABLE_LEFT },
        { "SESSIONS", TABLE_RIGHT },
};
#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

typedef struct Row {
        json_t *target; /* borrowed */
        pid_t pid;
} Row;

static int compare_pids(const void *a, const void *b) {
        const Row *left = a, *right = b;

        return (left->pid > right->pid) - (left->pid < right->pid);
}

/* A new array, in the order of the PIDs. */
static json_t *sorted(json_t *targets) {
        size_t n = json_array_size(targets);
        _cleanup_free_ Row *rows = calloc(n + 1, sizeof(*rows));
        json_t *result = json_array();

        if (!rows || !result)
                message_out_of_memory();
        for (size_t i = 0; i < n; i++) {
                json_t *target = json_array_get(targets, i);

                rows[i] = (Row){ .target = target, .pid = target_pid(target) };
        }
        qsort(rows, n, sizeof(*rows), compare_pids);
        for (size_t i = 0; i < n; i++)
                if (json_array_append(result, rows[i].target) < 0)
                        message_out_of_memory();
        return result;
}

static void add_row(Table *table, json_t *target) {
        _cleanup_free_ char *pid = target_text(target, "pid"), *user = target_user(target),
                            *unit = target_text(target, "unit"), *command = target_command(target),
                            *python = target_text(target, "python"), *state = target_text(target, "state"),
                            *sessions = target_text(target, "sessions");
        const char *cells[N_COLUMNS] = { pid, user, unit, command, python, state, sessions };

        table_add(table, cells);
}

static void print_table(const Options *options, json_t *targets) {
        _cleanup_(table_done) Table table;
        unsigned width = output_width();
        Pager pager;

        table_init(&table, columns, N_COLUMNS);
        for (size_t i = 0; i < json_array_size(targets); i++)
                add_row(&table, json_array_get(targets, i));

        pager_open(&pager, options->pager, table.n_rows + LINES_AROUND);
        if (table.n_rows > 0)
                table_print(&table, stdout, width, options->legend);
        if (options->legend && table.n_rows > 0)
                (void)printf("\n%zu target%s listed.\n", table.n_rows, table.n_rows == 1 ? "" : "s");
        else if (options->legend)
                (void)printf("No targets.\n");
        pager_close(&pager);
}

/* Columns do not move when a wider cell comes: one that looks on line by line is helped more by that. */
static void print_event(const char *event, json_t *target) {
        _cleanup_free_ char *pid = target_text(target, "pid"), *user = target_user(target),
                            *unit = target_text(target, "unit"), *command = target_command(target),
                            *python = target_text(target, "python"), *state = target_text(target, "state"),
                            *sessions = target_text(target, "sessions");

        (void)printf("%-8s %7s %-10s %-9s %-6s %8s %-24s %s\n", event, pid, user, state, python, sessions, unit, command);
}

static void print_answer(const Options *options, json_t *answer) {
        const char *event = json_string_value(json_object_get(answer, "event"));
        json_t *targets, *target = json_object_get(answer, "target");

        if (options->json != JSON_OFF)
                json_print(answer, options->json);
        else if (json_is_object(target))
                print_event(event ? event : "-", target);
        else if (json_is_array(json_object_get(answer, "targets"))) {
                targets = sorted(json_object_get(answer, "targets"));
                for (size_t i = 0; i < json_array_size(targets); i++)
                        print_event("listed", json_array_get(targets, i));
                json_decref(targets);
        } else if (options->legend)
                (void)puts("Something was missed; this is how it is now:");
        (void)fflush(stdout);
}

static int watch(const Options *options, Connection *connection) {
        json_t *answer;
        int r = connection_send_more(connection, "Watch", json_object(), deadline_in(ANSWER_USEC));

        if (r == EXIT_DONE)
                r = connection_receive(connection, deadline_in(ANSWER_USEC), &answer);
        if (r == EXIT_DONE && options->json == JSON_OFF && options->legend)
                (void)printf("%-8s %7s %-10s %-9s %-6s %8s %-24s %s\n", "EVENT", "PID", "USER", "STATE", "PYTHON", "SESSIONS", "UNIT",
                             "COMMAND");
        while (r == EXIT_DONE && !ferror(stdout)) {
                print_answer(options, answer);
                json_decref(answer);
                r = connection_receive(connection, DEADLINE_NEVER, &answer);
        }
        return r;
}

int verb_list(const Options *options, int n_words, char **words) {
        _cleanup_(connection_done) Connection connection = CONNECTION_INIT;
        json_t *reply = NULL, *targets;
        int r;

        r = connection_open(&connection, options->control);
        if (r == EXIT_DONE && options->watch)
                return watch(options, &connection);
        if (r == EXIT_DONE)
                r = connection_call(&connection, "List", json_object(), deadline_in(ANSWER_USEC), &reply);
        if (r != EXIT_DONE)
                return r;

        targets = sorted(json_object_get(reply, "targets"));
        if (options->json != JSON_OFF)
                json_print(targets, options->json);
        else
                print_table(options, targets);
        json_decref(targets);
        json_decref(reply);
        return EXIT_DONE;
}
