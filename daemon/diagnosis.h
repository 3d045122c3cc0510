/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* What stands in the way of a console, in words for a person, and what to do about it. */

#include <stdbool.h>
#include <stddef.h>

#include "daemon/target.h"

/* True when a console cannot be had from @t now; then *ret says why. */
bool diagnose_target(const Target *t, char *ret, size_t size);

/* Why nothing answers to @name. */
void diagnose_missing(const char *name, char *ret, size_t size);
