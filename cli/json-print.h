/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* JSON on standard output, and foreign bytes as JSON. */

#include <jansson.h>
#include <stddef.h>

#include "cli/options.h"

/* One document and a line end. Not for JSON_OFF. */
void json_print(json_t *value, JsonMode mode);

/* A string of any bytes: what is not UTF-8 becomes U+FFFD. */
json_t *json_bytes(const char *bytes, size_t n);
