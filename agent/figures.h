/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the agent counts, for the request `health` and for its own limits. Any thread; no lock, no Python API.
 */

typedef enum Figure {
        FIGURE_CONNECTIONS, /* open now */
        FIGURE_CONSOLES,    /* threads that run one, or an exec, now */
        FIGURE_ASKERS,      /* threads that answer a request with the GIL, or wait for it, now */
        FIGURE_DROPPED,     /* bytes of output that found no room, ever */
        _FIGURE_MAX,
} Figure;

/* While the GIL is held for long, each request with its connection gone would leave one more. When there
 * are so many the GIL is not waited for. */
#define FIGURE_ASKERS_MAX 32

void figures_add(Figure figure, long long n);
long long figures_get(Figure figure);

/* Child after fork: it has nothing of that. */
void figures_fork_child(void);
