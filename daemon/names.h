/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * User names without a name service on the loop: a thread asks (getpwuid_r(3) may wait for a
 * network), answers are cached, and whoever cannot wait uses the number.
 */

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

typedef struct Names Names;
typedef struct NameWait NameWait;

struct NameWait {
        TAILQ_ENTRY(NameWait) link;
        Names *names; /* borrowed; NULL when idle */
        uid_t uid;
        void (*done)(NameWait *wait, void *userdata);
        void *userdata;
};

int names_new(struct event_base *loop, Names **ret);
void names_free(Names *names);

/* The cached name; NULL when there is none, or none yet: then it is being asked for. Valid until the
 * next call: too many names, and all are forgotten. */
const char *names_get(Names *names, uid_t uid);

/* "alice (uid 1000)", or "uid 1000" where no name is known: for people, escaped. */
#define NAMES_PERSON_MAX 96U
void names_person(Names *names, uid_t uid, char ret[NAMES_PERSON_MAX]);

/* True: @done is called from the loop, once, when names_get() knows the answer. False: it knows
 * already, or never will. @wait must be idle. */
bool names_wait(Names *names, NameWait *wait, uid_t uid, void (*done)(NameWait *wait, void *userdata),
                void *userdata);
void names_wait_cancel(NameWait *wait);
