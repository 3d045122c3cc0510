/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The command line of a client's process, for the record.
 *
 * It stands in the process's own memory: reading it may wait for that process, or for a disk. So a thread
 * reads it and says it over a pipe; whoever waits for that too long goes on without. The thread shares
 * nothing with us but the pipe, and ends by itself.
 */

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct Command Command;

/* Embedded in whoever waits. Zeroed memory is idle. */
struct Command {
        int fd;               /* owned while answer is */
        struct event *answer; /* owned; NULL when idle */
        char *text;           /* owned: escaped, and cut when long; NULL when it is not known */
        void (*done)(Command *command, void *userdata);
        void *userdata;
};

/* Asks for that of the process @pid, which made the connection @fd. True: @done is called from the loop,
 * once. False: it will not be known. */
bool command_ask(Command *c, struct event_base *loop, int fd, pid_t pid,
                 void (*done)(Command *command, void *userdata), void *userdata);

/* Waits no longer. What is known stays. */
void command_cancel(Command *c);
void command_done(Command *c);
