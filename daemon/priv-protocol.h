/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What manholed asks of manholed-priv: one fixed-size datagram (SOCK_SEQPACKET) a request, with
 * descriptors where the operation needs them, and one back. Nothing in it has a length to trust.
 * Both programs come from one build, so there is no version.
 */

#include <stdint.h>

#define PRIV_FDS_MAX 2U

typedef enum PrivOperation {
        PRIV_PROBE = 1,    /* fds: O_PATH socket. error: 0 live, ECONNREFUSED dead, EPROTOTYPE … */
        PRIV_CONNECT,      /* fds: O_PATH socket. Answers with a connected, non-blocking stream */
        PRIV_UNLINK_STALE, /* fds: folder, O_PATH socket. Takes the file away if it is surely dead */
        PRIV_CHECK_STALE,  /* The same, but leaves it */
        PRIV_OPEN_MAPS,    /* Answers with an open /proc/PID/maps */
        PRIV_OPEN_EXECUTABLE, /* Answers with an O_PATH descriptor of /proc/PID/exe */
        PRIV_LIST_PROCESSES,  /* Answers with a file of PrivProcess: processes in namespaces of their own */
        PRIV_OPEN_TMP,        /* Answers with a descriptor of /proc/PID/root/tmp */
        _PRIV_OPERATION_MAX,
} PrivOperation;

typedef struct PrivRequest {
        uint32_t operation; /* PrivOperation */
        uint32_t id;        /* comes back in the response */
        uint32_t uid;       /* CONNECT: the uid the agent shall see */
        uint32_t framed;    /* CONNECT: 1 = ask for the console protocol's frames */
        int32_t pid;        /* OPEN_*; LIST_PROCESSES: those above it. *_STALE: the process the file is named
                             * after, 0 for the one of the name's number, -1 for none */
        uint32_t reserved;
        uint64_t start_time; /* with pid: of that process, /proc/PID/stat field 22 */
        char name[32];       /* UNLINK_STALE, CHECK_STALE: of the file below the folder; NUL-terminated */
} PrivRequest;

/* Looked at by one LIST_PROCESSES, so that other requests need not wait long. */
#define PRIV_PROCESSES_MAX 512U

typedef struct PrivProcess {
        int32_t pid, ns_pid; /* as we know it, and as it knows itself */
        uint64_t start_time;
        uint64_t mount_ns; /* the kernel's number of it; 0: no process, but where to go on */
} PrivProcess;

typedef struct PrivResponse {
        uint32_t id;
        int32_t error; /* 0, or negative errno; a descriptor comes with 0 only */
} PrivResponse;
