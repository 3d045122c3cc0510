/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* Members of the control protocol's Target object, as text that is safe for a terminal. */

#include <jansson.h>
#include <sys/types.h>

/* Parameters of a call that names the target @word; may be added to. */
json_t *target_parameters(const char *word);

pid_t target_pid(json_t *target);

/* Text, integer or null (then "-"); the caller's. */
char *target_text(json_t *target, const char *key);
char *target_text_of(json_t *value);

/* The user's name, or the number where it has none; the caller's. */
char *target_user(json_t *target);

/* The command line, or the process's name in brackets when it has none; the caller's. */
char *target_command(json_t *target);
