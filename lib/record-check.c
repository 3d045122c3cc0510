/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/record-check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const direction_names[] = { [RECORD_OF_INPUT] = "input", [RECORD_OF_OUTPUT] = "output" };

typedef struct Check {
        void (*found)(const char *text, void *userdata);
        void *userdata;
        RecordSum sum;
        uint64_t next_seq, usec;
        uint64_t next_position[_RECORD_DIRECTION_MAX];
} Check;

__attribute__((format(printf, 2, 3))) static void find(Check *c, const char *format, ...) {
        char text[256];
        va_list args;

        va_start(args, format);
        (void)vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        c->sum.n_findings++;
        c->found(text, c->userdata);
}

static int compare(const void *a, const void *b) {
        const RecordSeen *x = a, *y = b;

        return (x->seq > y->seq) - (x->seq < y->seq);
}

static void check_sequence(Check *c, const RecordSeen *seen) {
        uint64_t seq = seen->seq;

        if (seq < c->next_seq)
                find(c, "record %" PRIu64 " is there more than once", seq);
        else if (seq == c->next_seq + 1)
                find(c, "record %" PRIu64 " is missing", c->next_seq);
        else if (seq > c->next_seq)
                find(c, "records %" PRIu64 " to %" PRIu64 " are missing", c->next_seq, seq - 1);
        c->next_seq = seq + 1;
        if (seen->usec < c->usec)
                find(c, "record %" PRIu64 " is older than the one before it", seq);
        c->usec = seen->usec;
        if (c->sum.ended)
                find(c, "record %" PRIu64 " comes behind the end", seq);
        if ((seen->event == RECORD_START) != (seq == 0))
                find(c, seq == 0 ? "record %" PRIu64 " is no start" : "record %" PRIu64 " is a second start",
                     seq);
}

static void check_data(Check *c, const RecordSeen *seen) {
        RecordDirection d = seen->event == RECORD_INPUT ? RECORD_OF_INPUT : RECORD_OF_OUTPUT;
        uint64_t next = c->next_position[d], at = seen->position;

        if (c->sum.omitted[d])
                find(c, "record %" PRIu64 ": no %s should be recorded", seen->seq, direction_names[d]);
        else if (at > next)
                find(c, "bytes %" PRIu64 " to %" PRIu64 " of the %s are missing", next, at - 1,
                     direction_names[d]);
        else if (at < next)
                find(c, "record %" PRIu64 " begins with %s that is there already", seen->seq,
                     direction_names[d]);
        c->next_position[d] = at + seen->size;
        c->sum.bytes[d] += seen->size;
        c->sum.records[d]++;
}

static void check_totals(Check *c, const RecordSeen *end) {
        for (RecordDirection d = 0; d < _RECORD_DIRECTION_MAX; d++) {
                if (c->sum.omitted[d])
                        continue;
                if (c->sum.bytes[d] != end->bytes[d])
                        find(c, "of %" PRIu64 " bytes of %s %" PRIu64 " are recorded", end->bytes[d],
                             direction_names[d], c->sum.bytes[d]);
                if (c->sum.records[d] != end->records[d])
                        find(c, "of %" PRIu64 " records of %s %" PRIu64 " are there", end->records[d],
                             direction_names[d], c->sum.records[d]);
        }
        if (end->lost > 0)
                find(c, "%" PRIu64 " records could not be written, and were not waited for", end->lost);
}

void record_check(RecordSeen *seen, size_t n, void (*found)(const char *text, void *userdata),
                  void *userdata, RecordSum *ret) {
        Check c = { .found = found, .userdata = userdata };

        qsort(seen, n, sizeof(*seen), compare);
        for (size_t i = 0; i < n; i++) {
                check_sequence(&c, seen + i);
                switch (seen[i].event) {
                case RECORD_START:
                        c.sum.started = true;
                        for (RecordDirection d = 0; d < _RECORD_DIRECTION_MAX; d++)
                                c.sum.omitted[d] = seen[i].omitted[d];
                        break;
                case RECORD_INPUT:
                case RECORD_OUTPUT:
                case RECORD_DROPPED:
                        check_data(&c, seen + i);
                        break;
                case RECORD_END:
                        check_totals(&c, seen + i);
                        c.sum.ended = true;
                        break;
                default:
                        break;
                }
        }
        if (!c.sum.ended)
                find(&c, "there is no end: the session is open, or its end could not be recorded");
        *ret = c.sum;
}
