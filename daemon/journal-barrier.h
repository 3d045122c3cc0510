/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Tells when the journal has stored all that was sent to it: a send has no acknowledgement of its
 * own. Asks journald by Varlink (io.systemd.Journal.Synchronize), without blocking.
 */

#include <event2/event.h>
#include <stdbool.h>

typedef struct JournalBarrier JournalBarrier;

/* @done is called from the loop for each request, or once for several that ran together; also
 * when journald cannot be asked, or does not answer: then nothing is known. */
int journal_barrier_new(struct event_base *loop, void (*done)(bool answered, void *userdata), void *userdata,
                        JournalBarrier **ret);
void journal_barrier_free(JournalBarrier *b);

/* Covers all that was sent before this call. */
void journal_barrier_request(JournalBarrier *b);

/* The same without a loop: waits for the answer, but not for long. */
void journal_barrier_wait(void);
