/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What /proc says of a process (proc(5)). The parsers are pure and take the files' text; a process
 * writes parts of it itself (its name, its command line), so nothing here trusts more than the
 * kernel's own fields.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct ProcStat {
        char state;          /* R, S, D, T, Z, … */
        unsigned tty;        /* device number of the controlling terminal; 0: none */
        uint64_t start_time; /* clock ticks since boot */
        char comm[17];
} ProcStat;

/* Whom the audit system counts a process to (audit_setloginuid(3)): given at login, and kept by what
 * changes uids later, as sudo(8) does. */
typedef struct ProcAudit {
        uint32_t login_uid, session; /* PROC_AUDIT_UNSET: never logged in, or no audit system */
} ProcAudit;

#define PROC_AUDIT_UNSET UINT32_MAX

typedef struct ProcStatus {
        char state; /* as in ProcStat */
        uid_t ruid, euid, suid;
        pid_t ns_pid;   /* the process's own name for itself: the last number of NSpid */
        bool ns_nested; /* it lives in a pid namespace below ours */
} ProcStatus;

/* What a memory map tells about an interpreter. */
typedef struct ProcPython {
        char version[8]; /* "3.11"; empty when it cannot be told */
        bool native;     /* manholed's agent is loaded */
} ProcPython;

int proc_parse_stat(const char *text, ProcStat *ret);     /* 0 or -EBADMSG */
int proc_parse_status(const char *text, ProcStatus *ret); /* 0 or -EBADMSG */

/* True if a user namespace with this uid_map maps uid @outside (user_namespaces(7)). */
bool proc_parse_uid_map(const char *text, uid_t outside);

/* The name of a terminal, of what /proc/PID/stat says: "pts/3", "tty1", "ttyS0", or its device number. */
#define PROC_TTY_MAX 24U
void proc_tty_name(unsigned tty, char ret[PROC_TTY_MAX]);

/* Looks at one line of /proc/PID/maps and adds what it tells to @python. */
void proc_parse_maps_line(const char *line, ProcPython *python);

/* 0 or negative errno; -ESRCH (or -ENOENT) when there is no such process. */
int proc_read_stat(pid_t pid, ProcStat *ret);
int proc_read_status(pid_t pid, ProcStatus *ret);
void proc_read_audit(pid_t pid, ProcAudit *ret); /* unset is what cannot be read */

/* The command line, arguments joined by spaces, in the caller's buffer; bytes as they are. */
int proc_read_command(pid_t pid, char *ret, size_t size);

/* Reads an open /proc/PID/maps, at most 1 MiB of it, and says what it tells. */
int proc_read_python(int maps_fd, ProcPython *ret);

/* The path behind an open /proc/PID/exe, as it is in the process's own mount namespace; also of a file
 * that has been replaced since (proc(5), "(deleted)"). *ret is the caller's. */
int proc_read_executable(int exe_fd, char **ret);

/* 1 if the process's user namespace maps our root, 0 if not: then root is the overflow uid in its eyes.
 * Or negative errno. */
int proc_knows_root(pid_t pid);

/* True if the process began more than two seconds after @ctime_sec (seconds, CLOCK_REALTIME): it
 * cannot be the one that made a file with that change time. */
bool proc_started_after(uint64_t start_time, int64_t ctime_sec);

/* A pidfd (pidfd_open(2)); the caller owns it. Negative errno. */
int proc_pidfd(pid_t pid);
