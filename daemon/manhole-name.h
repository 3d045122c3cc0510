/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* The file name of a manhole, "manhole-PID": pure. */

#include <sys/types.h>

#define MANHOLE_NAME_PREFIX "manhole-"

/* 0, or -EINVAL for any other name; leading zeros make another name. */
int manhole_name_parse(const char *name, pid_t *ret_pid);
