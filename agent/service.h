/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the I/O thread has to know of the options: a copy, since it never looks at Python's.
 */

#include <stdbool.h>

typedef struct Service {
        bool daemon_connection; /* consoles do not keep the process alive */
        bool root_only;         /* not even our own user gets in (accept="root") */
        bool function;          /* a function, not a console, serves plain clients */
} Service;
