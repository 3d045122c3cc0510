/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/parse.h"

#include <errno.h>

#define PARSE_PID_MAX (4U * 1024U * 1024U)

int parse_u64(const char *text, uint64_t max, uint64_t *ret) {
        uint64_t v = 0;

        if (!*text)
                return -EINVAL;
        for (; *text; text++) {
                unsigned digit = (unsigned)(*text - '0');

                if (*text < '0' || *text > '9')
                        return -EINVAL;
                if (__builtin_mul_overflow(v, 10U, &v) || __builtin_add_overflow(v, digit, &v) || v > max)
                        return -ERANGE;
        }
        *ret = v;
        return 0;
}

int parse_pid(const char *text, pid_t *ret) {
        uint64_t v;
        int r = parse_u64(text, PARSE_PID_MAX, &v);

        if (r < 0)
                return r;
        if (v == 0)
                return -ERANGE;
        *ret = (pid_t)v;
        return 0;
}
