/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* A record in the journal's native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/). Pure. */

#include "lib/record.h"

typedef struct JournalDatagram {
        char *bytes; /* owned */
        size_t n, allocated;
} JournalDatagram;

/* Replaces @d, which may be zeroed or an earlier one, whose memory is used again. 0 or -ENOMEM. */
int journal_datagram_encode(JournalDatagram *d, const Record *record);
void journal_datagram_done(JournalDatagram *d);
