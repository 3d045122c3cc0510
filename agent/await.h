/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * `await` at a console's prompt, and `async for` and `async with`: while the application has a running
 * asyncio loop they are compiled, and run in that loop. The console's thread waits; the loop's does not.
 * GIL held.
 */

#include "agent/client.h"

/* With a SyntaxError set: whether that may be for an `await` that could be run. The exception stays. */
bool await_is_possible(void);

/* With an exception set: calls @compiler, a codeop.CommandCompiler, once more and so that `await` may be
 * there. Another kind of compiler leaves it at that exception. */
PyObject *await_compile_line(PyObject *compiler, PyObject *source, const char *file_name);

/* What await_compile_line() adds to the compiler's flags. */
#define AWAIT_FLAGS 0x2000 /* ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, since 3.8 */

/* Whether running this code makes a coroutine that is to be awaited. */
bool await_is_wanted(PyObject *code);

/* Has the application's loop run it, and waits. Its result, or NULL with an exception set. */
PyObject *await_consume(Client *c, PyObject *coroutine);
