/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Standard output as the tools write it: errors of writing are noticed, terminals get no bytes
 * they would obey, everything else gets the bytes as they are.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/filter.h"

/* First thing in main(): descriptors 0 to 2 exist, SIGPIPE is an error of write(), the character
 * set is UTF-8. */
void output_init(void);

/* Last thing in main(): returns @status, or EXIT_FAILED when something could not be written.
 * Reports that, unless it was only the reader who went away. */
int output_finish(int status);

/* Columns to lay tables out for; 0 when there is no limit. */
unsigned output_width(void);

/* Foreign bytes on their way to a stream. */
typedef struct Printer {
        FILE *stream; /* borrowed */
        bool terminal;
        Filter filter;
} Printer;

void printer_init(Printer *p, FILE *stream);
/* 0, or negative errno when the stream cannot be written. */
int printer_write(Printer *p, const void *data, size_t n);
/* The end: what a cut character left, and the colours back to normal. */
int printer_finish(Printer *p);
