/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/socket-file.h"

#include <time.h>

bool socket_file_same(const struct stat *a, const struct stat *b) {
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
               a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

bool socket_file_is_young(const struct stat *st) {
        struct timespec now = {};

        (void)clock_gettime(CLOCK_REALTIME, &now);
        return now.tv_sec - st->st_ctim.tv_sec < SOCKET_FILE_STALE_AGE_SEC;
}
