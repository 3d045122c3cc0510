/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Text that is longer than the terminal is high goes through $PAGER, or less(1). While the pager
 * runs, standard output is its input.
 */

#include <stdbool.h>
#include <sys/types.h>

typedef struct Pager {
        pid_t pid; /* 0 while there is none */
} Pager;

/* Starts one if standard output is a terminal with less than @n_lines lines. */
void pager_open(Pager *p, bool wanted, size_t n_lines);
/* Waits for its end. */
void pager_close(Pager *p);
