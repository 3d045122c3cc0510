/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Who may do what to which target: pure, a function of kernel facts alone. The default lets a user
 * into processes of the same uid, and root into all.
 */

#include <stdbool.h>
#include <sys/types.h>

typedef enum PolicyMode {
        POLICY_OBSERVE, /* list, status: the daemon answers, no code runs in the target */
        POLICY_CONTROL, /* attach, exec: code runs in the target */
} PolicyMode;

typedef struct PolicySubject {
        uid_t uid; /* effective uid of the client when it connected (SO_PEERCRED, unix(7)) */
} PolicySubject;

typedef struct PolicyObject {
        uid_t uid; /* the target's, or 0 where its uids differ: then only root is enough */
} PolicyObject;

typedef struct PolicyVerdict {
        bool allowed;
        const char *rule; /* static text: the rule that decided, for a person */
} PolicyVerdict;

PolicyVerdict policy_decide(PolicySubject subject, PolicyObject object, PolicyMode mode);
