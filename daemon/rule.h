/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A policy's rules from text: pure. A rule is a section of the configuration, `[Grant "name"]`
 * or `[Deny "name"]`, with these keys:
 *
 *   User=  Group=         of the client; "*" for every user
 *   TargetUser=           "*" for every user
 *   Unit=  Executable=    patterns (fnmatch(3))
 *   Mode=                 "observe", …; "*" for all
 *
 * Each takes words, may be given several times, and forgets what it had when it is empty. A word with
 * blanks stands in double quotes.
 */

#include "daemon/policy.h"

/* A section begins. NULL, or what is wrong with it; then nothing was added. */
const char *rule_begin(Policy *policy, bool grants, const char *name, const char *place);

/* An assignment in the section that began last. NULL, or what is wrong. */
const char *rule_assign(Policy *policy, const char *key, const char *value);

/* That section is over. NULL, or what it lacks. */
const char *rule_end(const Policy *policy);
