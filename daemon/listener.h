/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The control socket: taken from systemd, or made. Accepts; pauses when the process is out of
 * descriptors, and goes on when some are free again.
 */

#include <event2/event.h>

typedef struct Listener Listener;

/*
 * @passed is the socket that systemd passed, -1 if there is none, or -EBUSY if there are several.
 * @path is where to listen without one; its folder is made if
 * need be, and a dead socket there is replaced, a live one is -EADDRINUSE. @accepted gets each
 * connection and owns it. 0 or negative errno.
 */
int listener_new_consume(struct event_base *loop, int passed, const char *path,
                         void (*accepted)(int fd, void *userdata), void *userdata, Listener **ret);
void listener_free(Listener *l);

/* Descriptors have been closed. */
void listener_resume(Listener *l);
