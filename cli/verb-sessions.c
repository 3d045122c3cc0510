/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manholectl sessions: the open sessions that the caller may see. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/connection.h"
#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/output.h"
#include "cli/pager.h"
#include "cli/table.h"
#include "cli/target.h"
#include "lib/cleanup.h"

#define ANSWER_USEC (30 * USEC_PER_SEC)
#define LINES_AROUND 3U /* heading, blank line, footer */

static const TableColumn columns[] = {
        { "SESSION", TABLE_LEFT },   { "USER", TABLE_LEFT },   { "PID", TABLE_RIGHT },
        { "COMMAND", TABLE_SHRINK }, { "UNIT", TABLE_SHRINK }, { "STATE", TABLE_LEFT },
        { "SINCE", TABLE_LEFT },     { "IDLE", TABLE_RIGHT },
};
#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

static void add_row(Table *table, json_t *session) {
        _cleanup_free_ char *id = target_text(session, "session"), *user = target_user(session),
                            *pid = target_text(session, "pid"), *comm = target_text(session, "comm"),
                            *unit = target_text(session, "unit"), *state = target_text(session, "state"),
                            *since = target_text(session, "since");
        char idle[32];
        const char *cells[N_COLUMNS] = { id, user, pid, comm, unit, state, since, idle };

        (void)snprintf(idle, sizeof(idle), "%.0fs", json_number_value(json_object_get(session, "idle")));
        table_add(table, cells);
}

static void print_table(const Options *options, json_t *sessions) {
        _cleanup_(table_done) Table table;
        Pager pager;

        table_init(&table, columns, N_COLUMNS);
        for (size_t i = 0; i < json_array_size(sessions); i++)
                add_row(&table, json_array_get(sessions, i));

        pager_open(&pager, options->pager, table.n_rows + LINES_AROUND);
        if (table.n_rows > 0)
                table_print(&table, stdout, output_width(), options->legend);
        if (options->legend && table.n_rows > 0)
                (void)printf("\n%zu session%s listed.\n", table.n_rows, table.n_rows == 1 ? "" : "s");
        else if (options->legend)
                (void)printf("No sessions.\n");
        pager_close(&pager);
}

int verb_sessions(const Options *options, int n_words, char **words) {
        _cleanup_(connection_done) Connection connection = CONNECTION_INIT;
        json_t *reply = NULL, *sessions;
        int r;

        r = connection_open(&connection, options->control);
        if (r == EXIT_DONE)
                r = connection_call(&connection, "Sessions", json_object(), deadline_in(ANSWER_USEC),
                                    &reply);
        if (r != EXIT_DONE)
                return r;

        sessions = json_object_get(reply, "sessions");
        if (!json_is_array(sessions))
                (void)json_object_set_new(reply, "sessions", sessions = json_array());
        if (options->json != JSON_OFF)
                json_print(sessions, options->json);
        else
                print_table(options, sessions);
        json_decref(reply);
        return EXIT_DONE;
}
