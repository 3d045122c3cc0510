/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/parse.h"

#include <errno.h>
#include <string.h>

#define PARSE_PID_MAX (4U * 1024U * 1024U)

int parse_boolean(const char *text, bool *ret) {
        static const char *const words[][4] = { { "no", "false", "off", "0" }, { "yes", "true", "on", "1" } };

        for (unsigned value = 0; value < 2; value++)
                for (size_t i = 0; i < sizeof(words[0]) / sizeof(*words[0]); i++)
                        if (strcmp(text, words[value][i]) == 0) {
                                *ret = value;
                                return 0;
                        }
        return -EINVAL;
}

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

/* The unit at the front of @text, or seconds where there is none; moves on behind it. */
static int parse_unit(const char **text, uint64_t *ret_usec) {
        static const struct {
                const char *name;
                uint64_t usec;
        } units[] = {
                { "ms", 1000U }, { "s", 1000000U }, { "min", 60U * 1000000U },
                { "h", 3600ULL * 1000000U }, { "d", 86400ULL * 1000000U }, { "", 1000000U },
        };
        size_t n = strspn(*text, "abcdefghijklmnopqrstuvwxyz");

        for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
                if (strlen(units[i].name) == n && memcmp(units[i].name, *text, n) == 0) {
                        *text += n;
                        *ret_usec = units[i].usec;
                        return 0;
                }
        return -EINVAL;
}

int parse_duration(const char *text, uint64_t max_usec, uint64_t *ret_usec) {
        uint64_t sum = 0;

        do {
                size_t n = strspn(text, "0123456789");
                uint64_t number, usec;
                char digits[24];
                int r;

                if (n >= sizeof(digits))
                        return -ERANGE;
                memcpy(digits, text, n);
                digits[n] = '\0';
                text += n;
                r = parse_u64(digits, UINT64_MAX, &number) ?: parse_unit(&text, &usec);
                if (r < 0)
                        return r;
                if (__builtin_mul_overflow(number, usec, &number) || __builtin_add_overflow(sum, number, &sum) ||
                    sum > max_usec)
                        return -ERANGE;
                text += strspn(text, " ");
        } while (*text);
        *ret_usec = sum;
        return 0;
}

int parse_size(const char *text, uint64_t *ret) {
        static const char suffixes[] = "KMGT";
        size_t n = strspn(text, "0123456789");
        const char *suffix = text[n] ? strchr(suffixes, text[n]) : NULL;
        char digits[24];
        uint64_t v;
        int r;

        if (n >= sizeof(digits))
                return -ERANGE;
        if (text[n] && (!suffix || text[n + 1]))
                return -EINVAL;
        memcpy(digits, text, n);
        digits[n] = '\0';
        r = parse_u64(digits, UINT64_MAX, &v);
        if (r == 0 && suffix && __builtin_mul_overflow(v, 1ULL << (10 * (suffix - suffixes + 1)), &v))
                r = -ERANGE;
        if (r == 0)
                *ret = v;
        return r;
}
