/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* The Varlink interfaces' definitions, as text; made from the .varlink files by the build. */

typedef struct Interface {
        const char *name;
        const char *description;
} Interface;

extern const Interface interfaces[]; /* ends with an empty one */
