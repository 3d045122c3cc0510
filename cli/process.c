/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/process.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define MOMENT_MSEC 300
#define AGENT_LIBRARY "/manhole/_agent.abi3.so"

int process_open(pid_t pid) {
        return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0U) : -1;
}

bool process_ended(int pidfd) {
        struct pollfd p = { .fd = pidfd, .events = POLLIN };

        return pidfd >= 0 && poll(&p, 1, MOMENT_MSEC) > 0;
}

bool process_lacks_agent(pid_t pid) {
        _cleanup_free_ char *line = NULL;
        bool seen = false, found = false;
        char path[32];
        size_t size = 0;
        FILE *maps;

        (void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
        maps = fopen(path, "re");
        while (maps && !found && getline(&line, &size, maps) > 0) {
                seen = true;
                found = strstr(line, AGENT_LIBRARY) != NULL;
        }
        if (maps)
                (void)fclose(maps);
        return seen && !found;
}
