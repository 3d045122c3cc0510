/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/manhole-name.h"

#include <errno.h>
#include <string.h>

#include "lib/parse.h"

int manhole_name_parse(const char *name, pid_t *ret_pid) {
        if (strncmp(name, MANHOLE_NAME_PREFIX, strlen(MANHOLE_NAME_PREFIX)) != 0)
                return -EINVAL;
        name += strlen(MANHOLE_NAME_PREFIX);
        if (*name == '0' || parse_pid(name, ret_pid) < 0)
                return -EINVAL;
        return 0;
}
