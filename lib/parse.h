/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Strict numbers: the whole text, decimal digits only, in range. 0 or -EINVAL, -ERANGE. */

#include <stdint.h>
#include <sys/types.h>

int parse_u64(const char *text, uint64_t max, uint64_t *ret);
int parse_pid(const char *text, pid_t *ret); /* 1 … 2^22, the kernel's PID_MAX_LIMIT (proc(5)) */
