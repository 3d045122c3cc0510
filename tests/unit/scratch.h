/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* A folder of a test's own, gone with the group of tests; and what descriptors are open. */

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char scratch[64];

/* Group setup: makes the folder and goes there. */
static inline int scratch_enter(void **state) {
        strcpy(scratch, "/tmp/manholed-unit-XXXXXX");
        return mkdtemp(scratch) && chdir(scratch) == 0 ? 0 : -1;
}

static inline int scratch_remove_one(const char *path, const struct stat *st, int type, struct FTW *place) {
        return remove(path);
}

static inline int scratch_leave(void **state) {
        return chdir("/") == 0 ? nftw(scratch, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS) : -1;
}

static inline void scratch_write(const char *path, const void *data, size_t n) {
        FILE *f = fopen(path, "we");

        assert_non_null(f);
        assert_int_equal(fwrite(data, 1, n, f), n);
        assert_int_equal(fclose(f), 0);
}

/* A bound socket; it listens if the type can. */
static inline int scratch_bind(const char *path, int type) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0 && strlen(path) < sizeof(sa.sun_path));
        strcpy(sa.sun_path, path);
        assert_int_equal(bind(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
        if (type != SOCK_DGRAM)
                assert_int_equal(listen(fd, 8), 0);
        return fd;
}

static inline unsigned scratch_open_fds(void) {
        DIR *dir = opendir("/proc/self/fd");
        unsigned n = 0;

        assert_non_null(dir);
        while (readdir(dir))
                n++;
        (void)closedir(dir);
        return n - 3; /* ".", ".." and the folder's own */
}
