/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A recorded session in the journal. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "cli/exit-status.h"
#include "cli/logged.h"
#include "cli/message.h"

/* Fields that begin with an underscore are journald's own; every other one may be anybody's. */
static const char *const trusted[] = { "_UID=0", "_SYSTEMD_UNIT=manholed.service", ("_EXE=" MANHOLED_PATH) };

static const char *get_field(const char *name, size_t *ret_n, void *userdata) {
        size_t n, n_name = strlen(name);
        const void *data;

        if (sd_journal_get_data(userdata, name, &data, &n) < 0 || n < n_name + 1)
                return NULL;
        *ret_n = n - n_name - 1;
        return (const char *)data + n_name + 1;
}

static int match(sd_journal *j, const char *session) {
        char id[64];
        int r = 0;

        (void)snprintf(id, sizeof(id), "MANHOLE_SESSION=%s", session);
        for (size_t i = 0; r >= 0 && i < sizeof(trusted) / sizeof(*trusted); i++)
                r = sd_journal_add_match(j, trusted[i], 0);
        return r < 0 ? r : sd_journal_add_match(j, id, 0);
}

static int read_all(Logged *l, sd_journal *j, const char *session) {
        uint64_t usec;
        int r = match(j, session);

        /* Data is at most 4,000 bytes; whatever is longer is not ours. */
        if (r >= 0)
                r = sd_journal_set_data_threshold(j, 0);
        if (r >= 0)
                r = sd_journal_seek_head(j);
        while (r >= 0 && (r = sd_journal_next(j)) > 0)
                if (logged_add(l, get_field, j) && l->since == 0 &&
                    sd_journal_get_realtime_usec(j, &usec) >= 0)
                        l->since = usec;
        return r;
}

int logged_from_journal(Logged *l, const char *session, const char *directory) {
        sd_journal *j = NULL;
        int r = directory ? sd_journal_open_directory(&j, directory, 0)
                          : sd_journal_open(&j, SD_JOURNAL_LOCAL_ONLY);

        if (r >= 0)
                r = read_all(l, j, session);
        sd_journal_close(j);
        if (r < 0) {
                message_error("cannot read the journal%s%s: %s", directory ? " in " : "", directory ?: "",
                              strerror(-r));
                return EXIT_FAILED;
        }
        if (l->n == 0) {
                message_error("the journal has no record of session %s%s", session,
                              geteuid() == 0 ? ""
                                             : ", or not for your eyes (see the group systemd-journal)");
                return EXIT_NO_TARGET;
        }
        return EXIT_DONE;
}
