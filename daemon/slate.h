/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What there is to know of a session, in memory that may outlive this process: its values, and the bytes
 * that are under way. The next manholed goes on from there, however this one ended, and no byte is lost
 * or doubled.
 *
 * The values are there twice, and one word says which of the two holds: they change as a whole. Between
 * a system call that moves bytes and the change of the values that says so, the process may be killed;
 * so the kernel itself notes here how many bytes it moved (recvmmsg(2) and sendmmsg(2) write
 * msg_len before they return). A note counts as long as the values are those that it was asked for with.
 *
 * Knows neither session nor recorder: `collect` of its owner fills the values in. Their layout is a
 * contract between versions of manholed. SlateHeader, and the values up to `output_records`, are the same
 * in every version: they are what the record of a session's end needs.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "daemon/backlog.h"
#include "lib/frame.h"
#include "lib/record.h"

#define SLATE_VERSION 1U
/* Of bytes that were read and are not recorded yet: a read, and what came behind the call. */
#define SLATE_READ_MAX 81920U
/* Of bytes that are recorded and not written yet. */
#define SLATE_RECORDED_MAX 98304U

enum {
        _SLATE_E_SUCCESS,
        SLATE_E_NOT_ONE, /* not something that manholed wrote */
        SLATE_E_VERSION, /* of another version: the header, and how far the record goes, can be read */
};

typedef struct SlateHeader {
        char magic[8];
        uint32_t version, size;      /* size: of the whole, in bytes */
        uint32_t state_size, active; /* of one set of values; which of the two holds */
        char session[24];
        char recorder[16]; /* kind of destination */
        uint64_t started;  /* of the record: CLOCK_BOOTTIME, µs */
        uint32_t client_uid, target_pid, target_uid, reserved;
        char client_user[256], target_comm[72], target_unit[256]; /* empty: not known */
} SlateHeader;

/* What does not change. */
typedef struct SlateFixed {
        int64_t since;
        uint64_t began;
        uint64_t target_start;
        uint64_t session_bytes_max, user_day_bytes_max;
        uint32_t client_gid, ruid, euid, suid, ns_pid;
        uint8_t ns_nested, wants_frames, wants_linger, framed;
        uint8_t recorder_mode, omit_input, omit_output, reserved[5];
} SlateFixed;

typedef struct SlateFlow {
        uint64_t written, taken;     /* between them: recorded, to be written; positions in a ring */
        uint32_t read_from, read_to; /* between them: read, to be recorded */
        uint32_t frame_length, frame_type, frame_id, frame_remaining;
        uint8_t header[FRAME_HEADER_SIZE], n_header, eof, reserved[2];
} SlateFlow;

/* Of both directions: input to the target, and output. */
typedef enum SlateDirection {
        SLATE_INPUT,
        SLATE_OUTPUT,
        _SLATE_DIRECTION_MAX,
} SlateDirection;

typedef struct SlateState {
        uint64_t generation; /* of slate.c */
        uint64_t seq;        /* of the next record */
        uint64_t client_pid;
        uint64_t input_bytes, output_bytes, input_records, output_records; /* recorded so far */
        uint64_t mark, used, n_lost;
        uint64_t last_input, linger_until, backlog_new;
        uint32_t console_id, n_backlog, n_prompt;
        uint8_t console_open, joined, prompts;
        uint8_t suspended; /* manholed stopped in order */
        uint8_t ended;     /* and that has been recorded */
        uint8_t reserved[7];
        SlateFlow flows[_SLATE_DIRECTION_MAX];
        char prompt[BACKLOG_PROMPT_MAX];
} SlateState;

typedef struct SlateBytes {
        uint8_t read[SLATE_READ_MAX];
        uint8_t recorded[SLATE_RECORDED_MAX];
} SlateBytes;

typedef enum SlateAct {
        SLATE_READS,
        SLATE_WRITES,
        SLATE_RECORDS, /* one record: the other values hold when it has been sent */
} SlateAct;

typedef struct SlatePages {
        SlateHeader header;
        SlateState states[2];
        SlateFixed fixed;
        struct {
                uint32_t act, direction;
                uint64_t generation;
                struct mmsghdr kernel; /* only its msg_len means something to another process */
        } note;
        SlateBytes bytes[_SLATE_DIRECTION_MAX];
        uint8_t backlog[BACKLOG_MAX]; /* of a session that was suspended */
} SlatePages;

/* Embedded in its owner. Zeroed memory is none. */
typedef struct Slate {
        SlatePages *pages;                                  /* owned */
        int fd;                                             /* owned; -1: it ends with the process */
        void (*collect)(SlateState *state, void *userdata); /* may be NULL */
        void *userdata;
} Slate;

/* A blank one; with @outlives in memory that a descriptor holds. 0 or negative errno. */
int slate_init(Slate *s, bool outlives);
void slate_done(Slate *s);

/* Takes one over that another process wrote: the descriptor is taken with 0 and SLATE_E_VERSION. What the
 * kernel had noted has then been reckoned in. 0, SLATE_E_NOT_ONE, SLATE_E_VERSION (nothing but the header and the
 * beginning of the values may be read) or negative errno. */
int slate_open(Slate *s, int fd);

/* The values that hold. */
const SlateState *slate_now(const Slate *s);

/* Gives back the memory of a direction in which nothing is under way, but for the pages in which its
 * bytes begin. */
void slate_shrink(Slate *s, SlateDirection direction);

/* The values are from now on what `collect` says. */
void slate_commit(Slate *s);

/* A record is about to be written: `collect` says what will hold when it is. Then it is written, by
 * slate_send() or otherwise, and if that succeeds slate_settle() follows. */
void slate_prepare(Slate *s);
void slate_settle(Slate *s);

/* As recv(2) and send(2), and the kernel notes it. A slate of NULL is none. */
ssize_t slate_read(Slate *s, SlateDirection direction, int fd, void *room, size_t n);
ssize_t slate_write(Slate *s, SlateDirection direction, int fd, struct iovec *iov, size_t n_iov);
ssize_t slate_send(Slate *s, int fd, const void *bytes, size_t n);
