/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "lib/cleanup.h"

/* 0 where nobody would keep anything. */
static unsigned store_max(void) {
        const char *max = getenv("FDSTORE");

        if (!getenv("NOTIFY_SOCKET"))
                return 0;
        return max ? (unsigned)strtoul(max, NULL, 10) : STORE_MAX;
}

int store_init(Store *s) {
        char **names = NULL;
        int n = sd_listen_fds_with_names(1, &names);

        *s = (Store){ .max = store_max() };
        if (n <= 0)
                return n;
        s->passed = calloc((size_t)n, sizeof(*s->passed));
        if (!s->passed) {
                while (n > 0)
                        free(names[--n]);
                free(names);
                return -ENOMEM;
        }
        for (; s->n_passed < (size_t)n; s->n_passed++)
                s->passed[s->n_passed] =
                        (Passed){ SD_LISTEN_FDS_START + (int)s->n_passed, names[s->n_passed] };
        free(names);
        return 0;
}

void store_done(Store *s) {
        for (size_t i = 0; i < s->n_passed; i++) {
                (void)fd_close(s->passed[i].fd);
                free(s->passed[i].name);
        }
        free(s->passed);
        *s = (Store){};
}

static bool has_prefix(const char *name, const char *prefix) {
        return strncmp(name, prefix, strlen(prefix)) == 0;
}

int store_take(Store *s, const char *name) {
        for (size_t i = 0; i < s->n_passed; i++)
                if (s->passed[i].fd >= 0 && strcmp(s->passed[i].name, name) == 0)
                        return TAKE_FD(s->passed[i].fd);
        return -1;
}

int store_take_other(Store *s, const char *const prefixes[], size_t n_prefixes) {
        Passed *found = NULL;

        for (size_t i = 0; i < s->n_passed; i++) {
                size_t k = 0;

                while (k < n_prefixes && !has_prefix(s->passed[i].name, prefixes[k]))
                        k++;
                if (k < n_prefixes || s->passed[i].fd < 0)
                        continue;
                if (found)
                        return -EBUSY;
                found = &s->passed[i];
        }
        return found ? TAKE_FD(found->fd) : -1;
}

const char *store_next(const Store *s, const char *prefix) {
        for (size_t i = 0; i < s->n_passed; i++)
                if (s->passed[i].fd >= 0 && has_prefix(s->passed[i].name, prefix))
                        return s->passed[i].name;
        return NULL;
}

bool store_has_room(const Store *s, unsigned n) {
        return s->used <= s->max && n <= s->max - s->used;
}

int store_put(Store *s, const char *name, const int *fds, unsigned n) {
        char message[STORE_NAME_MAX + 32];
        int r;

        assert(strlen(name) < STORE_NAME_MAX);

        (void)snprintf(message, sizeof(message), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
        r = sd_pid_notify_with_fds(0, 0, message, fds, n);
        if (r <= 0)
                return r < 0 ? r : -ENOTCONN;
        s->used += n;
        return 0;
}

void store_drop(Store *s, const char *name, unsigned n) {
        (void)sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
        s->used -= n < s->used ? n : s->used;
}
