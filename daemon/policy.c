/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/policy.h"

PolicyVerdict policy_decide(PolicySubject subject, PolicyObject object, PolicyMode mode) {
        if (subject.uid == 0)
                return (PolicyVerdict){ true, "root may enter every target" };
        if (subject.uid == object.uid)
                return (PolicyVerdict){ true, "a user may enter targets of the same uid" };
        return (PolicyVerdict){ false, "the target belongs to another user" };
}
