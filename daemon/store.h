/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Descriptors that were passed to this process at its start, and those that it leaves with the service
 * manager for the next one (sd_listen_fds(3), FDSTORE=1 of sd_notify(3)).
 *
 * What is stored is stored for good: the manager does not look whether anybody is at the other end
 * (FDPOLL=0), and a socket that is closed here stays open there until it is dropped. Without a service
 * manager there is no room.
 */

#include <stdbool.h>
#include <stddef.h>

/* FileDescriptorStoreMax= of manholed.service: before systemd 254 it does not say what it keeps. */
#define STORE_MAX 16384U
#define STORE_NAME_MAX 64U

typedef struct Passed {
        int fd;     /* owned; -1 when it has been taken */
        char *name; /* owned */
} Passed;

/* Embedded in its owner. */
typedef struct Store {
        Passed *passed; /* owned */
        size_t n_passed;
        unsigned used, max;
} Store;

/* Takes all that was passed: once, and before there is another process. 0 or negative errno. */
int store_init(Store *s);
/* Closes what was passed and is nobody's; what is stored stays. */
void store_done(Store *s);

/* A descriptor that was passed with this name, which is the caller's from now on; -1 when there is none
 * (any more). */
int store_take(Store *s, const char *name);

/* The same of any name but those that begin so; -EBUSY when there are several. */
int store_take_other(Store *s, const char *const prefixes[], size_t n_prefixes);

/* The next name that begins so, of what has not been taken; NULL when there is none. */
const char *store_next(const Store *s, const char *prefix);

bool store_has_room(const Store *s, unsigned n);

/* Stores these under a name. 0 or negative errno. */
int store_put(Store *s, const char *name, const int *fds, unsigned n);

/* All @n of this name are stored no longer. */
void store_drop(Store *s, const char *name, unsigned n);
