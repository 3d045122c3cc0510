/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* A manhole's socket file, as the scanner finds it and manholed-priv removes it: pure. */

#include <stdbool.h>
#include <sys/stat.h>

/* Inside bind() the file exists before the kernel can find the socket (unix(7) says nothing of it; it
 * was measured), so a young one may look dead while it is being born: none is called dead before this
 * age. */
#define SOCKET_FILE_STALE_AGE_SEC 2

/* What happens to one that is surely dead. */
typedef enum RemoveStale {
        REMOVE_STALE_YES,    /* taken away and recorded */
        REMOVE_STALE_REPORT, /* recorded */
        REMOVE_STALE_NO,
} RemoveStale;

/* One file, and not its successor on the same inode. */
bool socket_file_same(const struct stat *a, const struct stat *b);

/* Too young to be called dead. */
bool socket_file_is_young(const struct stat *st);
