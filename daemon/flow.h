/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * One direction of a session: bytes are read, recorded, and only then written. Bounded: reading
 * goes on when what was read has been recorded and most of it written, so a slow reader at one end
 * slows the writer at the other, and nobody else.
 *
 * Owned by a session; the descriptors are borrowed from it. Knows no policy and no target.
 */

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/recorder.h"
#include "daemon/slate.h"
#include "daemon/tap.h"

typedef struct Flow Flow;

typedef enum FlowEnd {
        FLOW_CLOSED,     /* the sender's end, a reset too, has been passed on: this direction is over */
        FLOW_LOST,       /* the receiving end is gone */
        FLOW_GONE,       /* with `holds`: the sender is gone, as opposed to having said all */
        FLOW_PROTOCOL,   /* the sender broke the protocol */
        FLOW_UNRECORDED, /* the recorder is lost */
} FlowEnd;

typedef struct FlowHandler {
        /* Called once, from the loop; the flow is still. */
        void (*end)(Flow *flow, FlowEnd how, void *userdata);
        /* This has been recorded and will be written. Must not end the flow. */
        void (*seen)(Flow *flow, const TapPiece *piece, void *userdata);
} FlowHandler;

/* Words of our own in the stream. */
typedef struct FlowInsert {
        STAILQ_ENTRY(FlowInsert) link;
        size_t n;
        uint8_t bytes[]; /* a whole frame, or plain bytes */
} FlowInsert;

typedef STAILQ_HEAD(FlowInserts, FlowInsert) FlowInserts;

/* Plain values: where in its stream a flow is, and where on the slate the bytes are that are under way. */
typedef struct FlowFacts {
        Tap tap;
        bool eof;
        uint64_t position; /* bytes recorded: data, without frame headers */
        uint64_t n_records;
        uint64_t written, taken;     /* between them: recorded, to be written; a ring */
        uint32_t read_from, read_to; /* between them: read, not yet recorded */
} FlowFacts;

struct Flow {
        struct event *readable, *writable; /* owned */
        int from, to;                      /* borrowed; -1: nobody is there at the moment */
        FlowFacts facts;
        Slate *slate;             /* borrowed: its values are this flow's, among others */
        SlateBytes *bytes;        /* of it */
        RecorderSession *session; /* borrowed */
        bool closed, blocked;     /* blocked: the recorder has no room */
        bool wide;                /* more memory than usual has been filled */
        bool holds;               /* of the owner: the sender may go, and another come */
        FlowInserts inserts;      /* owned: to be said between two frames */
        unsigned n_inserts;
        const FlowHandler *handler; /* borrowed */
        void *userdata;
};

/* Prepares; nothing is read before flow_start(). 0 or -ENOMEM. */
int flow_init(Flow *f, struct event_base *loop, int from, int to, bool from_client, bool framed, Slate *slate,
              RecorderSession *session, const FlowHandler *handler, void *userdata);
/* Its facts stay. */
void flow_done(Flow *f);

/* Bytes that were read before the flow was made. 0 or -ENOBUFS. */
int flow_push(Flow *f, const void *bytes, size_t n);

void flow_start(Flow *f);

/* Says something of our own to the receiver, as soon as the sender is between two frames: with frames
 * one of this type, else the bytes. Recorded like all else, as of the kind "notice". At most a few
 * wait; what comes then is left out. @n is at most FLOW_INSERT_MAX. */
#define FLOW_INSERT_MAX 1024U
void flow_insert(Flow *f, uint32_t type, const char *text, size_t n);

/* Bytes that wait to be recorded, and to be written. */
size_t flow_unrecorded(const Flow *f);
size_t flow_unwritten(const Flow *f);

/* Another sender, or none (-1): what the last one sent still goes through. 0 or -ENOMEM. */
int flow_set_from(Flow *f, struct event_base *loop, int from);

/* Another receiver, or none (-1): then what comes is recorded and goes no further. A new receiver gets
 * @first, of at most FLOW_FIRST_MAX bytes, and goes on within the frame that is under way. 0, -ENOBUFS or
 * -ENOMEM. */
#define FLOW_FIRST_MAX (SLATE_RECORDED_MAX - FRAME_HEADER_SIZE)
int flow_set_to(Flow *f, struct event_base *loop, int to, struct evbuffer *first);

/* After FLOW_GONE: the sender's going is its end after all. */
void flow_end(Flow *f);

/* Between two frames of the sender. */
bool flow_between_frames(const Flow *f);

/* The flow will be done: says what waits to be said, if the receiver takes it at once. */
void flow_last_words(Flow *f);

/* The recorder may have room again. */
void flow_resume(Flow *f);
