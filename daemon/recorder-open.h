/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* From the configuration's word to a destination. */

#include "daemon/recorder.h"

/* @where is "journal", "file:DIR" (an absolute path) or "none". 0 or negative errno (-EINVAL: none
 * of these). */
int recorder_open(struct event_base *loop, const char *where, Recorder **ret);
