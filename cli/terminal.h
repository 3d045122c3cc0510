/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The terminal's modes and the signals around it.
 *
 * Whatever way the program ends (return, exit(), a signal), the terminal is as it was found. The
 * signals that mean something to a console are noted and reported where the program waits: they
 * are blocked elsewhere, so that none falls between the look and the wait.
 */

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

/* To be called once, before the modes of standard input are changed. */
void terminal_init(void);

/* Where to poll for and read standard input; the module's. If that is a terminal, it is opened a
 * second time to be non-blocking without making it so for others: Ctrl-C takes back input that
 * poll() has seen already, and a read that waits would not notice the signal. */
int terminal_input(void);

typedef struct TerminalEvents {
        bool interrupt; /* Ctrl-C */
        bool resized;
        bool stop; /* Ctrl-Z */
} TerminalEvents;

/* As ppoll(), and says which signals came. Returns the number of ready descriptors, 0 after a
 * signal or at the deadline, or negative errno. */
int terminal_poll(struct pollfd *fds, nfds_t n, uint64_t deadline, TerminalEvents *ret);

/* Stops the program as Ctrl-Z does; returns when it is continued. */
void terminal_stop(void);

/* Ends the program the way Ctrl-C ends one that does not handle it. */
_Noreturn void terminal_die_interrupted(void);
