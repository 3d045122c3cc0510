/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A manhole that opens when it is asked to: for good (activate_on), or for one client whom the
 * calling thread serves itself (oneshot_on, handle_oneshot()). What fails is logged. GIL held.
 */

#include <stdbool.h>

/* Opens the socket, unless it is open. 0 or negative errno. */
int activation_open(void);

/* Waits for one client and serves it. Now and then @is_wanted is asked whether to go on. 0, or -1 with the exception
 * of one of the application's own signal handlers set. */
int activation_oneshot(long number, bool (*is_wanted)(long number));
