/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * How much of something each uid may use up in a day: what is used is not given back, as opposed to
 * what a quota (quota.h) counts. A uid's day begins with its first use. Pure: the caller tells the time.
 * Root's uid is counted as every other.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

typedef struct AllowanceUser AllowanceUser;

typedef struct Allowance {
        void *by_uid;                                    /* tsearch(3) tree; owns nothing */
        TAILQ_HEAD(AllowanceUsers, AllowanceUser) users; /* owned; who began first is first */
} Allowance;

void allowance_init(Allowance *a);
void allowance_done(Allowance *a);

/* What @uid has used up of its day at @now (µs, never goes back). */
uint64_t allowance_used(Allowance *a, uid_t uid, uint64_t now);

/* Uses up @n. 0 or -ENOMEM. */
int allowance_use(Allowance *a, uid_t uid, uint64_t n, uint64_t now);

/* True once a day: whoever is at the limit is spoken of once. For a uid that has used something. */
bool allowance_tell(Allowance *a, uid_t uid);
