/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What a console says about exceptions, and `exec`: a script whose last expression is its result.
 * GIL held throughout.
 */

#include "agent/client.h"

/* Shows and clears the exception that is set. @traceback: with the frames it went through, else as
 * an error of compilation. */
void evaluate_say_exception(Client *c, bool traceback);

/* Compiles the session's source, runs it, and says in @ret_end how it went. */
void evaluate_exec(Client *c, JsonBuffer *ret_end);
