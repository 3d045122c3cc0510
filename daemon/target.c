/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-login.h>

#include "lib/cleanup.h"
#include "lib/escape.h"

#define COMMAND_MAX 256U

const char *target_state_to_string(TargetState state) {
        static const char *const names[_TARGET_STATE_MAX] = {
                [TARGET_UNKNOWN] = "unknown",
                [TARGET_LIVE] = "live",
                [TARGET_STALE] = "stale",
                [TARGET_ORPHANED] = "orphaned",
                [TARGET_UNTRUSTED] = "untrusted",
        };

        return names[state];
}

const char *target_state_name(const Target *t) {

        /* A stopped process is live, but nothing will answer. */
        if (t->state == TARGET_LIVE && (t->ids.state == 'T' || t->ids.state == 't'))
                return "stopped";
        return target_state_to_string(t->state);
}

const char *target_agent_name(const Target *t) {
        if (!t->python_known)
                return "unknown";
        return t->python.native ? "native" : "python";
}

uid_t target_policy_uid(const ProcStatus *ids) {
        return ids->ruid == ids->euid && ids->suid == ids->euid ? ids->euid : 0;
}

PolicyObject target_policy_object(const Target *t) {
        PolicyObject object = { .uid = t->file.st_uid, .unit = t->unit, .unit_unknown = t->unit_unknown,
                                .executable = t->executable };

        if (!t->has_process)
                return object;
        object.uid = target_policy_uid(&t->ids);
        return object;
}

void target_read_process(Target *t) {
        char command[COMMAND_MAX], escaped[COMMAND_MAX * 2];
        ProcStat stat, again;
        bool doubtful;
        int r;

        if (proc_read_stat(t->pid, &stat) < 0 || stat.state == 'Z' || stat.state == 'X' ||
            (t->has_process && stat.start_time != t->start_time) || proc_read_status(t->pid, &t->ids) < 0)
                return;
        doubtful = t->doubtful || (!t->has_process && proc_started_after(stat.start_time, t->file.st_ctim.tv_sec));
        if (doubtful && t->file.st_uid != t->ids.euid && t->file.st_uid != t->ids.ruid && t->file.st_uid != t->ids.suid)
                return;

        (void)escape_text(t->comm, sizeof(t->comm), stat.comm, strlen(stat.comm));
        if (proc_read_command(t->pid, command, sizeof(command)) == 0) {
                (void)escape_text(escaped, sizeof(escaped), command, strlen(command));
                free(t->command);
                t->command = strdup(escaped);
        }
        t->unit = (free(t->unit), NULL);
        r = sd_pid_get_unit(t->pid, &t->unit);
        /* In none, or on a machine without a manager of units. */
        t->unit_unknown = r < 0 && r != -ENODATA && r != -ENXIO && r != -ENOMEDIUM;

        /* All of it was the same process's. */
        if (proc_read_stat(t->pid, &again) < 0 || again.start_time != stat.start_time)
                return;
        t->doubtful = doubtful;
        t->start_time = stat.start_time;
        t->has_process = true;
}

void target_forget_process(Target *t) {
        if (t->process_end)
                event_free(t->process_end);
        t->process_end = NULL;
        t->pidfd = fd_close(t->pidfd);
        t->has_process = t->doubtful = false;
        t->start_time = 0;
        t->comm[0] = '\0';
        free(t->command);
        t->command = NULL;
        free(t->unit);
        t->unit = NULL;
        free(t->executable);
        t->executable = NULL;
}

void target_refresh_ids(Target *t) {
        ProcStatus ids;

        /* The pidfd of a living process keeps its pid from being used again; of one that has just
         * ended the old ids stay, and nothing can come of them. */
        if (t->has_process && proc_read_status(t->pid, &ids) == 0)
                t->ids = ids;
}

Target *target_new(Folder *folder, const char *folder_path, const char *name, const struct stat *st,
                   pid_t pid) {
        Target *t = calloc(1, sizeof(*t));

        if (!t)
                return NULL;
        t->folder = folder;
        t->file = *st;
        t->pid = t->ns_pid = pid;
        t->pidfd = -1;
        t->name = strdup(name);
        if (!t->name || asprintf(&t->path, "%s/%s", folder_path, name) < 0) {
                t->path = NULL;
                target_free(t);
                return NULL;
        }
        return t;
}

void target_free(Target *t) {
        if (!t)
                return;
        priv_call_cancel(&t->call);
        if (t->process_end)
                event_free(t->process_end);
        if (t->stale_timer)
                event_free(t->stale_timer);
        (void)fd_close(t->pidfd);
        free(t->name);
        free(t->path);
        free(t->command);
        free(t->unit);
        free(t->executable);
        free(t);
}
