/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Threads for what may block, such as a name service: detached, and deaf to signals, which are the loop's. */

#include <stddef.h>

/* @stack_size: in bytes, 0 for the usual one. 0 or negative errno; then nothing runs. */
int thread_start(void *(*run)(void *userdata), void *userdata, size_t stack_size);
