/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/journal-reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "daemon/log.h"

struct JournalReader {
        sd_journal *journal; /* owned; opened when it is first asked */
};

JournalReader *journal_reader_new(void) {
        return calloc(1, sizeof(JournalReader));
}

void journal_reader_free(JournalReader *r) {
        if (r && r->journal)
                sd_journal_close(r->journal);
        free(r);
}

static bool reader_open(JournalReader *r) {
        int k;

        if (r->journal)
                return true;
        k = sd_journal_open(&r->journal, SD_JOURNAL_LOCAL_ONLY);
        if (k < 0) {
                log_error("The journal cannot be read: %s", strerror(-k));
                return false;
        }
        (void)sd_journal_get_fd(r->journal); /* from now on it notices new files */
        return true;
}

bool journal_reader_has(JournalReader *r, const char *session, uint64_t seq) {
        char id[64], number[64], pid[32];

        if (!reader_open(r))
                return false;
        (void)sd_journal_process(r->journal);
        sd_journal_flush_matches(r->journal);
        (void)snprintf(id, sizeof(id), "MANHOLE_SESSION=%s", session);
        (void)snprintf(number, sizeof(number), "MANHOLE_SEQ=%" PRIu64, seq);
        (void)snprintf(pid, sizeof(pid), "_PID=%d", (int)getpid());
        return sd_journal_add_match(r->journal, id, 0) == 0 &&
               sd_journal_add_match(r->journal, number, 0) == 0 &&
               sd_journal_add_match(r->journal, pid, 0) == 0 && sd_journal_seek_tail(r->journal) == 0 &&
               sd_journal_previous(r->journal) > 0;
}

/* journald takes those of /run away when it writes to the disk. */
static bool has_files_in_memory(void) {
        sd_journal *journal = NULL;
        bool has = sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_RUNTIME_ONLY) == 0 &&
                   sd_journal_has_runtime_files(journal) > 0;

        sd_journal_close(journal);
        return has;
}

void journal_reader_state(JournalReader *r, JournalState *ret) {
        JournalState state = {};
        uint64_t to;

        if (reader_open(r)) {
                (void)sd_journal_process(r->journal);
                sd_journal_flush_matches(r->journal);
                state.readable = sd_journal_get_cutoff_realtime_usec(r->journal, &state.since_usec, &to) > 0;
                state.is_volatile =
                        sd_journal_has_persistent_files(r->journal) == 0 || has_files_in_memory();
                (void)sd_journal_get_usage(r->journal, &state.bytes);
        }
        *ret = state;
}
