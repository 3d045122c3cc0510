/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/diagnosis.h"

#include <stdio.h>
#include <string.h>

#include "daemon/procfs.h"
#include "lib/escape.h"
#include "lib/parse.h"

bool diagnose_target(const Target *t, char *ret, size_t size) {
        ProcStat stat;

        switch (t->state) {
        case TARGET_UNTRUSTED:
                if (t->impostor)
                        (void)snprintf(ret, size, "another process than %d listens on %s: somebody sits in its place",
                                       (int)t->pid, t->path);
                else if (t->has_process)
                        (void)snprintf(ret, size, "%s belongs to uid %u, but process %d to uid %u: somebody sits in its place",
                                       t->path, (unsigned)t->file.st_uid, (int)t->pid, (unsigned)t->ids.euid);
                else
                        (void)snprintf(ret, size, "%s is served by a process that does not bear its name", t->path);
                return true;
        case TARGET_ORPHANED:
                (void)snprintf(ret, size, "process %d has ended, but %s is still held open, as by a child that inherited it; "
                               "nobody answers there", (int)t->pid, t->path);
                return true;
        case TARGET_STALE:
                if (t->has_process)
                        (void)snprintf(ret, size, "nobody serves %s any more, although process %d lives; "
                                       "restart the application to get a console", t->path, (int)t->pid);
                else
                        (void)snprintf(ret, size, "%s is stale: process %d has ended", t->path, (int)t->pid);
                return true;
        case TARGET_LIVE:
                if (proc_read_stat(t->pid, &stat) == 0 && (stat.state == 'T' || stat.state == 't')) {
                        (void)snprintf(ret, size, "process %d is stopped by a signal; it answers after 'kill -CONT %d'",
                                       (int)t->pid, (int)t->pid);
                        return true;
                }
                return false;
        case TARGET_UNKNOWN:
                (void)snprintf(ret, size,
                               t->file.st_mode & S_IWUSR ? "nobody serves %s yet"
                                                         : "%s is for root alone, which this manholed is not",
                               t->path);
                return true;
        case _TARGET_STATE_MAX:
                break;
        }
        return false;
}

void diagnose_missing(const char *name, char *ret, size_t size) {
        char escaped[256];
        ProcStat stat;
        pid_t pid;

        (void)escape_text(escaped, sizeof(escaped), name, strlen(name));
        if (parse_pid(name, &pid) < 0)
                (void)snprintf(ret, size, "no target is called '%s'", escaped);
        else if (proc_read_stat(pid, &stat) < 0)
                (void)snprintf(ret, size, "there is no process %d", (int)pid);
        else
                (void)snprintf(ret, size, "process %d has no manhole; start it with the agent (see manholectl(1))",
                               (int)pid);
}
