/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What a console says and asks for: the stacks, the banner, the prompt, and the lines that are typed
 * there. Console thread, GIL held; user code is run by usercode.h alone.
 */

#include "agent/client.h"

/* From the beginning to the end of the client's input or an exit(); or what the application has put in
 * the place of handle_repl(). @ret_end: the object that says why it is over. */
void repl_run(Client *c, JsonBuffer *ret_end);

/* From a prompt on, in the place of a thread that was left. */
void repl_go_on(Client *c, JsonBuffer *ret_end);
