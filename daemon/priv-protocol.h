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
        _PRIV_OPERATION_MAX,
} PrivOperation;

typedef struct PrivRequest {
        uint32_t operation; /* PrivOperation */
        uint32_t id;        /* comes back in the response */
        uint32_t uid;       /* CONNECT: the uid the agent shall see */
        uint32_t framed;    /* CONNECT: 1 = ask for the console protocol's frames */
        int32_t pid;        /* OPEN_MAPS, OPEN_EXECUTABLE */
        uint32_t reserved;
        uint64_t start_time; /* with pid: of that process, /proc/PID/stat field 22 */
        char name[32];       /* UNLINK_STALE, CHECK_STALE: of the file below the folder; NUL-terminated */
} PrivRequest;

typedef struct PrivResponse {
        uint32_t id;
        int32_t error; /* 0, or negative errno; a descriptor comes with 0 only */
} PrivResponse;
