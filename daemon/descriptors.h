/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * How many descriptors there are. When they run out, nothing new is let in, so that what is already
 * there can still be served: a look at a folder, a connection to a target, a record's file.
 */

#include <stdbool.h>

/* Kept from new connections, and from new sessions. */
#define DESCRIPTORS_FOR_CLIENTS 24U
#define DESCRIPTORS_FOR_SESSIONS 12U

/* As many as the hard limit allows: the soft one is meant for select(2), see getrlimit(2). */
void descriptors_raise_limit(void);

/* True if @n more can be had now. @fd is any open one. */
bool descriptors_are_left(int fd, unsigned n);
