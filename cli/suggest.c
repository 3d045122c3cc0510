/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/suggest.h"

#include <string.h>

#define WORD_MAX 32U

static size_t min(size_t a, size_t b) {
        return a < b ? a : b;
}

size_t word_distance(const char *a, const char *b) {
        size_t n = strlen(a), m = strlen(b), d[WORD_MAX + 1][WORD_MAX + 1];

        if (n > WORD_MAX || m > WORD_MAX)
                return n + m;

        for (size_t i = 0; i <= n; i++)
                for (size_t j = 0; j <= m; j++) {
                        if (i == 0 || j == 0) {
                                d[i][j] = i + j;
                                continue;
                        }
                        d[i][j] = min(d[i - 1][j - 1] + (a[i - 1] != b[j - 1]),
                                      min(d[i - 1][j], d[i][j - 1]) + 1);
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                d[i][j] = min(d[i][j], d[i - 2][j - 2] + 1);
                }
        return d[n][m];
}
