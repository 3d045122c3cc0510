/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * A connection to a target on its way: asked of manholed-priv, again while nobody takes it, then held
 * against who should be there, and, where frames are asked for, until the other side has shown which
 * face it has. Sends nothing, and reads nothing away.
 *
 * Embedded in whoever connects, who bounds the whole of it.
 */

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/priv.h"
#include "daemon/target.h"

typedef struct Dial Dial;

/* docs/CONSOLE-PROTOCOL.md: what is at the other end begins to speak, and shows by it what it is. */
typedef enum DialFace {
        DIAL_PLAIN,  /* text; or nobody has asked for anything else */
        DIAL_SILENT, /* nothing yet, though frames were asked for: it is taken for the pure-Python package */
        DIAL_FRAMED,
} DialFace;

/* One of them is called, once, from the loop; the dial is idle then. */
typedef struct DialHandler {
        /* The descriptor is the callee's. */
        void (*connected)(Dial *d, int fd, DialFace face);
        /* An error of daemon/errors.h; of who is not who he should be, ERROR_TARGET_UNTRUSTED. */
        void (*failed)(Dial *d, const char *error, const char *reason);
} DialHandler;

/* Zeroed memory is a dial that has not been prepared. */
struct Dial {
        const DialHandler *handler; /* borrowed, as are the next two */
        Priv *priv;
        Target *target;
        ProcStatus ids; /* of the target, when the policy said yes */
        uid_t uid;      /* of who asks */
        bool wants_frames;
        int fd; /* owned: connected, while it is waited for the face; else -1 */
        uint64_t since;
        PrivCall call;
        struct event *timer;    /* owned: patience with the next step */
        struct event *greeting; /* owned */
};

/* 0 or -ENOMEM. */
int dial_init(Dial *d, struct event_base *loop, Priv *priv, const DialHandler *handler);
/* At any time: nothing is called any more. */
void dial_done(Dial *d);

/* Begins; at the loop's next turn at the earliest a handler is called. The target must be there until
 * then, or until dial_cancel(). */
void dial_begin(Dial *d, Target *target, const ProcStatus *ids, uid_t uid, bool wants_frames);
void dial_cancel(Dial *d);
