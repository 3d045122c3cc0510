/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/journal-datagram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int put(JournalDatagram *d, const void *data, size_t n) {
        if (d->n + n > d->allocated) {
                size_t allocated = (d->n + n) * 2;
                char *grown = realloc(d->bytes, allocated);

                if (!grown)
                        return -ENOMEM;
                d->bytes = grown;
                d->allocated = allocated;
        }
        memcpy(d->bytes + d->n, data, n);
        d->n += n;
        return 0;
}

/* A value with a line end in it has its length in front, so that it cannot forge another field. */
static int put_field(const char *name, const void *data, size_t n_data, void *userdata) {
        JournalDatagram *d = userdata;
        uint8_t length[8];
        int r = put(d, name, strlen(name));

        if (r == 0 && n_data > 0 && memchr(data, '\n', n_data)) {
                for (unsigned i = 0; i < 8; i++)
                        length[i] = (uint8_t)((uint64_t)n_data >> (8 * i));
                r = put(d, "\n", 1) ?: put(d, length, sizeof(length));
        } else if (r == 0)
                r = put(d, "=", 1);
        if (r == 0 && n_data > 0)
                r = put(d, data, n_data);
        return r ?: put(d, "\n", 1);
}

int journal_datagram_encode(JournalDatagram *d, const Record *record) {
        static const char identifier[] = "SYSLOG_IDENTIFIER=manholed\n";

        d->n = 0;
        return record_fields(record, put_field, d) ?: put(d, identifier, strlen(identifier));
}

void journal_datagram_done(JournalDatagram *d) {
        free(d->bytes);
        *d = (JournalDatagram){};
}
