/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A console between a channel and standard input and output, until it ends: with a line editor on
 * a terminal, else lines in and bytes out.
 */

#include <sys/types.h>

#include "cli/channel.h"

/* @pid: the process behind the channel, for messages. Says why it ended; returns an ExitStatus. */
int console_run(Channel *channel, pid_t pid);
