/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The operations of manholed-priv that concern processes in namespaces of their own; priv-ops.h says what
 * holds for all of them.
 */

#include <stdint.h>
#include <sys/types.h>

/* LIST_PROCESSES: of the processes above @after, in ascending order, those in another mount namespace than
 * process 1 and ourselves. *ret_fd is a file of PrivProcess; if the last has no namespace there are more
 * above its pid. 0 or negative errno. */
int priv_namespaces_list(pid_t after, int *ret_fd);

/* OPEN_TMP: the folder /tmp as process @pid sees it. A link of that name, which might lead out of its root
 * folder, is not followed: an error. */
int priv_namespaces_open_tmp(pid_t pid, uint64_t start_time, int *ret_fd);
