/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/history.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <readline/history.h>

#include "lib/cleanup.h"

#define LINES_KEPT 2000

static char *path; /* owned; NULL while nothing is kept */

/* Makes the folders above @file that are missing. What cannot be made shows when it is opened. */
static void make_parents(char *file) {
        for (char *p = strchr(file + 1, '/'); p; p = strchr(p + 1, '/')) {
                *p = '\0';
                (void)mkdir(file, 0700);
                *p = '/';
        }
}

void history_open(void) {
        const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
        _cleanup_free_ char *file = NULL;
        _cleanup_fd_ int fd = -1;
        int r = -1;

        using_history();
        if (state && state[0] == '/')
                r = asprintf(&file, "%s/manholectl/history", state);
        else if (home && home[0] == '/')
                r = asprintf(&file, "%s/.local/state/manholectl/history", home);
        if (r < 0)
                return;
        make_parents(file);
        fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0)
                return;
        (void)history_truncate_file(file, LINES_KEPT);
        (void)read_history(file);
        path = TAKE_PTR(file);
}

void history_note(const char *line) {
        HIST_ENTRY *last;

        if (line[strspn(line, " \t")] == '\0')
                return;
        last = history_length > 0 ? history_get(history_base + history_length - 1) : NULL;
        if (last && strcmp(last->line, line) == 0)
                return;
        add_history(line);
        if (path)
                (void)append_history(1, path);
}

void history_close(void) {
        free(path);
        path = NULL;
        clear_history();
}
