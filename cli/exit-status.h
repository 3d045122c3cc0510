/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* The exit codes of the tools, as manholectl(1) documents them. */

typedef enum ExitStatus {
        EXIT_DONE,
        EXIT_FAILED,
        EXIT_USAGE,
        EXIT_NO_TARGET, /* no such target, or several */
        EXIT_REFUSED,
        EXIT_TIMED_OUT,
} ExitStatus;
