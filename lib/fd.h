/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Unix sockets and descriptors, as daemon and tools need them. All return 0 or negative errno. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Connects a new close-on-exec stream socket to @path (blocking). The caller owns *ret_fd. */
int fd_connect_unix(const char *path, int *ret_fd);

/* Gives an unbound socket the abstract name that asks an agent for frames (lib/console.h). */
int fd_bind_console_name(int fd);

/* The broker's, for frames or not. */
int fd_bind_broker_name(int fd, bool framed);

/* Nobody reads at the other end any more, as opposed to one who has merely said all (shutdown(2)). */
bool fd_is_hung_up(int fd);

int fd_set_nonblock(int fd, bool nonblock);

/* Writes all of it to a blocking descriptor; never raises SIGPIPE on a socket. */
int fd_write_all(int fd, const void *data, size_t n);

/* Reads a whole file of at most @max bytes below @dirfd (or AT_FDCWD); longer ones are -EFBIG.
 * The result is NUL-terminated, may hold NULs, and is the caller's. */
int fd_read_file(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_n);
