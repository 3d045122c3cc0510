/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/turns.h"

#include <assert.h>

void turns_init(Turns *t) {
        *t = (Turns){ .last = (uid_t)-1 };
        TAILQ_INIT(&t->waiting);
}

void turns_join(Turns *t, Client *c) {
        assert(!c->waiting);
        c->waiting = true;
        TAILQ_INSERT_TAIL(&t->waiting, c, turn);
}

void turns_leave(Turns *t, Client *c) {
        if (!c->waiting)
                return;
        c->waiting = false;
        t->last = c->peer.uid;
        TAILQ_REMOVE(&t->waiting, c, turn);
}

Client *turns_next(const Turns *t) {
        Client *c;

        TAILQ_FOREACH(c, &t->waiting, turn)
                if (c->peer.uid != t->last)
                        return c;
        return TAILQ_FIRST(&t->waiting);
}
