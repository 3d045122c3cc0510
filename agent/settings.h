/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The options of the latest installation, for whoever acts on them later. GIL held throughout.
 */

#include "agent/options.h"

/* Takes over what @o owns; returns what was there before, for the caller to release. */
Options settings_replace(const Options *o);

/* Borrowed: no Python code may run while it is looked at. */
const Options *settings_get(void);
