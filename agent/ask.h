/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The request `stacks`: a thread waits for the GIL to answer it, for as long as nobody else has
 * (overdue.h). A session has one such thread at a time, however often it asks.
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/session.h"

enum {
        _ASK_E_SUCCESS,
        ASK_E_BUSY, /* the session's last such request is not answered yet */
};

/* Begins to answer. @always as for stuck_take(); @at_once: without the GIL; @locals: with it, the
 * variables too. I/O thread. 0, ASK_E_BUSY, or negative errno. */
int ask_stacks(Session *s, uint32_t id, bool always, bool at_once, bool locals);
