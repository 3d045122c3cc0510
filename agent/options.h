/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What manhole.install() was asked for. GIL held throughout.
 */

#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

#include "agent/service.h"

typedef struct Options {
        bool verbose;
        int verbose_fd;
        PyObject *verbose_object; /* owned: written to instead of verbose_fd; or NULL */
        bool strict;
        bool patch_fork; /* a child after fork gets a socket of its own */
        double reinstall_delay;
        PyObject *socket_path; /* owned bytes, or NULL for /tmp/manhole-PID */
        PyObject *locals;      /* owned dict */
        bool redirect_stderr;
        bool thread;
        int activate_on, oneshot_on; /* signals, or 0 */
        uint64_t blocked;            /* signals of the agent's threads, a bit each */
        Service service;
        bool exec_lines;              /* connection_handler="exec" */
        PyObject *connection_handler; /* owned: a function; or NULL */
} Options;

/* Reads the keyword arguments. On failure -1 with an exception set, and @ret untouched. */
int options_parse(PyObject *kwargs, Options *ret);

/* Takes NULL members. */
void options_done(Options *o);
