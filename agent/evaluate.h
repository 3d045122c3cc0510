/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What a console says about exceptions, and `exec`: a script whose last expression is its result.
 * GIL held throughout. Runs no user code itself but __repr__ and __str__ of what it shows.
 */

#include "agent/client.h"

/* Shows and clears the exception that is set. @traceback: with the frames it went through, else as
 * an error of compilation. */
void evaluate_say_exception(Client *c, bool traceback);

/* Compiles the session's source, has it run by @run, and says in @ret_end how it went. */
void evaluate_exec(Client *c, PyObject *(*run)(Client *c, PyObject *code), JsonBuffer *ret_end);
