/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/allowance.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>

#define DAY_USEC (86400ULL * 1000000U)

struct AllowanceUser {
        TAILQ_ENTRY(AllowanceUser) link;
        uid_t uid;
        uint64_t began, used;
        bool told;
};

static int user_compare(const void *a, const void *b) {
        const AllowanceUser *x = a, *y = b;

        return (x->uid > y->uid) - (x->uid < y->uid);
}

void allowance_init(Allowance *a) {
        *a = (Allowance){};
        TAILQ_INIT(&a->users);
}

static void user_free(Allowance *a, AllowanceUser *user) {
        (void)tdelete(user, &a->by_uid, user_compare);
        TAILQ_REMOVE(&a->users, user, link);
        free(user);
}

void allowance_done(Allowance *a) {
        AllowanceUser *user;

        while ((user = TAILQ_FIRST(&a->users)))
                user_free(a, user);
}

/* Those whose day is over are the first. */
static AllowanceUser *user_find(Allowance *a, uid_t uid, uint64_t now) {
        AllowanceUser key = { .uid = uid }, *user;
        AllowanceUser **node;

        while ((user = TAILQ_FIRST(&a->users)) && now - user->began >= DAY_USEC)
                user_free(a, user);
        node = tfind(&key, &a->by_uid, user_compare);
        return node ? *node : NULL;
}

uint64_t allowance_used(Allowance *a, uid_t uid, uint64_t now) {
        AllowanceUser *user = user_find(a, uid, now);

        return user ? user->used : 0;
}

int allowance_use(Allowance *a, uid_t uid, uint64_t n, uint64_t now) {
        AllowanceUser *user = user_find(a, uid, now);

        if (!user) {
                user = calloc(1, sizeof(*user));
                if (!user)
                        return -ENOMEM;
                *user = (AllowanceUser){ .uid = uid, .began = now };
                if (!tsearch(user, &a->by_uid, user_compare)) {
                        free(user);
                        return -ENOMEM;
                }
                TAILQ_INSERT_TAIL(&a->users, user, link);
        }
        if (__builtin_add_overflow(user->used, n, &user->used))
                user->used = UINT64_MAX;
        return 0;
}

bool allowance_tell(Allowance *a, uid_t uid) {
        AllowanceUser key = { .uid = uid };
        AllowanceUser **node = tfind(&key, &a->by_uid, user_compare);
        bool tell = node && !(*node)->told;

        if (tell)
                (*node)->told = true;
        return tell;
}
