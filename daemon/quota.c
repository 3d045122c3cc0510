/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/quota.h"

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>

struct QuotaUser {
        uid_t uid;
        unsigned used;
};

static int user_compare(const void *a, const void *b) {
        const QuotaUser *x = a, *y = b;

        return (x->uid > y->uid) - (x->uid < y->uid);
}

static QuotaUser *user_find(Quota *q, uid_t uid) {
        QuotaUser key = { .uid = uid };
        QuotaUser **node = tfind(&key, &q->users, user_compare);

        return node ? *node : NULL;
}

void quota_init(Quota *q, unsigned max_per_user) {
        *q = (Quota){ .max_per_user = max_per_user };
}

void quota_done(Quota *q) {
        tdestroy(q->users, free);
        *q = (Quota){};
}

static int user_add(Quota *q, uid_t uid, unsigned n) {
        QuotaUser *user = user_find(q, uid);

        if (!user) {
                user = calloc(1, sizeof(*user));
                if (!user)
                        return -ENOMEM;
                user->uid = uid;
                if (!tsearch(user, &q->users, user_compare)) {
                        free(user);
                        return -ENOMEM;
                }
        }
        user->used += n;
        return 0;
}

int quota_charge_many(Quota *q, uid_t uid, unsigned n) {
        unsigned used = quota_used(q, uid);

        assert(n > 0);
        /* Before anything is allocated: a refusal must cost nothing. */
        if (used > q->max_per_user || n > q->max_per_user - used)
                return QUOTA_E_EXCEEDED;
        return user_add(q, uid, n);
}

int quota_charge_anyway(Quota *q, uid_t uid) {
        return user_add(q, uid, 1);
}

int quota_charge(Quota *q, uid_t uid) {
        return quota_charge_many(q, uid, 1);
}

void quota_release_many(Quota *q, uid_t uid, unsigned n) {
        QuotaUser *user = user_find(q, uid);

        assert(n > 0 && user && user->used >= n);
        user->used -= n;
        if (user->used == 0) {
                (void)tdelete(user, &q->users, user_compare);
                free(user);
        }
}

void quota_release(Quota *q, uid_t uid) {
        quota_release_many(q, uid, 1);
}

unsigned quota_used(Quota *q, uid_t uid) {
        QuotaUser *user = user_find(q, uid);

        return user ? user->used : 0;
}
