/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Removes old records of --record=file:DIR: whole sessions, the oldest first, and never one that goes on.
 *
 * Whoever writes a file holds a lock on it (retention_hold()), also another manholed in the same folder.
 * Looking at a folder takes as long as it is large, so a thread does that; it shares nothing with us.
 */

#include <stdint.h>

/* 0: no limit. */
typedef struct RetentionLimits {
        uint64_t usec;  /* since a file was written last */
        uint64_t bytes; /* of all files */
} RetentionLimits;

/* This file is being written, until the descriptor is closed. */
void retention_hold(int fd);

/* Any thread. Looks once. @folder_fd is borrowed. 0 or negative errno. */
int retention_apply(int folder_fd, RetentionLimits limits);

/* The same aside. */
void retention_apply_later(int folder_fd, RetentionLimits limits);
