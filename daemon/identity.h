/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Who is at the other end of a connection to a target, held against who should be: nobody is
 * fooled by a file name. Asks the kernel only.
 */

#include "daemon/target.h"

enum {
        _IDENTITY_E_SUCCESS,
        IDENTITY_E_OTHER_PROCESS, /* another process than the one named listens */
        IDENTITY_E_OTHER_USER,    /* the listener's uid is not the process's */
        IDENTITY_E_CHANGED,       /* the process no longer has the uids that the policy was asked about */
        IDENTITY_E_GONE,          /* the process has ended */
};

/*
 * Checks a connected stream socket: SO_PEERCRED gives pid and uid as they were at listen(2)
 * (unix(7)). @ids are those that the policy was asked about; the target's own may have been read
 * again since. 0, IDENTITY_E_*, or negative errno.
 */
int identity_check(int fd, const Target *t, const ProcStatus *ids);

/* The verdict in words, for a person. */
const char *identity_reason(int verdict);
