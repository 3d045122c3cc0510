/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What each uid may hold at once, so that nobody can use up what all share. Pure: counts only.
 * Root's uid is counted as every other.
 */

#include <stddef.h>
#include <sys/types.h>

enum {
        _QUOTA_E_SUCCESS,
        QUOTA_E_EXCEEDED,
};

typedef struct QuotaUser QuotaUser;

typedef struct Quota {
        void *users; /* tsearch(3) tree of QuotaUser by uid; owned */
        unsigned max_per_user;
} Quota;

void quota_init(Quota *q, unsigned max_per_user);
void quota_done(Quota *q);

/* Charges one unit to @uid: 0, -ENOMEM, or QUOTA_E_EXCEEDED. Give it back with quota_release(). */
int quota_charge(Quota *q, uid_t uid);
void quota_release(Quota *q, uid_t uid);

/* The same beyond what the user may hold: of what was granted before. 0 or -ENOMEM. */
int quota_charge_anyway(Quota *q, uid_t uid);

/* The same with @n units (at least one): all of them or none. */
int quota_charge_many(Quota *q, uid_t uid, unsigned n);
void quota_release_many(Quota *q, uid_t uid, unsigned n);

unsigned quota_used(Quota *q, uid_t uid);
