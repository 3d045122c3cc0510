/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Strict: the whole text; of numbers decimal digits only, in range. 0 or -EINVAL, -ERANGE; outputs are
 * untouched then. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

int parse_boolean(const char *text, bool *ret); /* "yes" or "no", and their synonyms in systemd's files */
int parse_u64(const char *text, uint64_t max, uint64_t *ret);
int parse_pid(const char *text, pid_t *ret); /* 1 … 2^22, the kernel's PID_MAX_LIMIT (proc(5)) */

/* A time as in systemd.time(7): "30", "90s", "1h 30min"; units are ms, s, min, h and d. Without one it is
 * seconds. */
int parse_duration(const char *text, uint64_t max_usec, uint64_t *ret_usec);

/* A number of bytes; K, M, G and T behind it are powers of 1024, as in systemd's files. */
int parse_size(const char *text, uint64_t *ret);
