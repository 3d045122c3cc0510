/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A console between a channel and standard input and output, until it ends: with a line editor on
 * a terminal, else lines in and bytes out.
 */

#include <sys/types.h>

#include "cli/channel.h"

/* @pid: the process behind the channel, for messages. @request: of a console that is open already, in
 * frames; 0: none is. @session: under which it may be taken up again when it is lost; may be NULL. Says
 * why it ended; returns an ExitStatus. */
int console_run(Channel *channel, pid_t pid, uint32_t request, const char *session);
