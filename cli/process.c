/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/process.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOMENT_MSEC 300

int process_open(pid_t pid) {
        return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0U) : -1;
}

bool process_ended(int pidfd) {
        struct pollfd p = { .fd = pidfd, .events = POLLIN };

        return pidfd >= 0 && poll(&p, 1, MOMENT_MSEC) > 0;
}
