/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* A policy as it was understood, for the administrator. */

#include <stdio.h>

#include "daemon/policy.h"

/* The rules in their order, and the default behind them. */
void rule_print_all(const Policy *policy, FILE *out);

/* Logs what is no error, but hardly meant: names that nobody knows, and rules that never decide. */
void rule_warn(const Policy *policy);

/* A rule before rule @n that decides whatever that one could; NULL when there is none. Not each is found:
 * names and patterns are compared as they are written. */
const PolicyRule *rule_hidden_by(const Policy *policy, size_t n);
