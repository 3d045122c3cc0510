/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* What somebody may have meant who mistyped a word. */

#include <stddef.h>

/* Letters to add, drop, change or swap with their neighbour until one word is the other. */
size_t word_distance(const char *a, const char *b);
