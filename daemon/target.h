/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A manhole that was found: a socket file, and the process it is named after. Plain data; the
 * registry owns targets, the scanner keeps them true.
 */

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "daemon/folder.h"
#include "daemon/policy.h"
#include "daemon/priv.h"
#include "daemon/procfs.h"

typedef struct Target Target;

typedef enum TargetState {
        TARGET_UNKNOWN,   /* being looked at */
        TARGET_LIVE,      /* something serves the socket, and it is the process's own */
        TARGET_STALE,     /* nobody serves it */
        TARGET_ORPHANED,  /* its process has ended, and another, such as a child, still holds the socket */
        TARGET_UNTRUSTED, /* somebody serves it who is not the process it names */
        _TARGET_STATE_MAX,
} TargetState;

struct Target {
        TAILQ_ENTRY(Target) link; /* in the registry */
        Folder *folder;           /* borrowed; the folder outlives its targets */
        char *name;               /* owned: of the file below the folder */
        char *path;               /* owned: for people */
        struct stat file;         /* dev, ino, ctime and owner tell one file from its successor */

        pid_t pid;           /* as we know the process; 0: it is not known */
        pid_t ns_pid;        /* as the name says, and as it knows itself */
        bool has_process;    /* a process of that pid */
        bool doubtful;       /* by the clock it is younger than the file: a pid used again, or a clock that was set */
        uint64_t start_time; /* of the process, with has_process */
        ProcStatus ids;
        int pidfd;                 /* owned; -1 without a process */
        struct event *process_end; /* owned */
        char comm[17];
        char *command; /* owned; escaped */
        char *unit;    /* owned; NULL when there is none */
        bool unit_unknown; /* it could not be read */
        ProcPython python;
        bool python_known;
        char *executable; /* owned; NULL when unknown. The kernel tells it, but the process chose it */

        TargetState state;
        bool was_live;      /* its own process was seen to live behind it */
        bool impostor;      /* a connection has shown that another process listens */
        uint64_t looked_at; /* when a look last began: CLOCK_BOOTTIME, µs */
        uint64_t read_at;   /* when all that /proc says of the process was last read */
        uint64_t round;     /* of the scanner's, in which its file was last seen */
        struct Inspector *inspector; /* borrowed: who follows it */
        bool pending; /* the look that began is not over */
        TAILQ_ENTRY(Target) look; /* while it is queued */
        bool queued;  /* it waits for its look */
        bool probed;  /* and has one of those at once */
        bool hurried; /* somebody waits for just that look */
        unsigned n_sessions, n_questions;
        PrivCall call; /* probe, then maps, then executable, then removal */
        bool removing; /* that call is the last of them */
        bool stale_told; /* it is left in place, and that has been recorded */
        struct event *stale_timer; /* owned; armed while the file is too young to be called dead */
};

const char *target_state_to_string(TargetState state);
/* The same, but "stopped" where the process is, which has to be read. */
const char *target_state_name(const Target *t);
const char *target_agent_name(const Target *t);

/* What the policy looks at: the uid, or 0 where the process's uids differ. Borrows from the target. */
PolicyObject target_policy_object(const Target *t);
uid_t target_policy_uid(const ProcStatus *ids);

/* Reads what /proc says of the process, or says now: a server drops its privileges and changes its
 * title. Sets has_process if there is one; that it has ended is told by its pidfd alone. */
void target_read_process(Target *t);

/* It was another's all along. Not from the callback of process_end. */
void target_forget_process(Target *t);

/* Reads the process's uids and state again: no event tells that they change. */
void target_refresh_ids(Target *t);

Target *target_new(Folder *folder, const char *folder_path, const char *name, const struct stat *st, pid_t pid);
void target_free(Target *t);
