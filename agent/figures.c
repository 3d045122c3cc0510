/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/figures.h"

#include <stdatomic.h>
#include <stddef.h>

static atomic_llong figures[_FIGURE_MAX];

void figures_add(Figure figure, long long n) {
        atomic_fetch_add(&figures[figure], n);
}

long long figures_get(Figure figure) {
        return atomic_load(&figures[figure]);
}

void figures_fork_child(void) {
        for (size_t i = 0; i < _FIGURE_MAX; i++)
                atomic_store(&figures[i], 0);
}
