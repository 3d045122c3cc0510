/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/cgroups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "daemon/log.h"
#include "lib/cleanup.h"

/* Anybody may have many made; what is not watched is found when somebody asks for the list. */
#define CGROUPS_MAX 8192U
#define WATCHED (IN_CREATE | IN_ONLYDIR | IN_DONT_FOLLOW)

typedef struct Cgroup {
        int watch;
        char *path; /* owned */
} Cgroup;

struct Cgroups {
        int inotify_fd;         /* owned */
        struct event *readable; /* owned */
        void *by_watch;         /* tsearch(3) tree of Cgroup; owned */
        unsigned n;
        bool warned;
        void (*made)(void *userdata);
        void *userdata;
};

/* The unified tree; where there are several, systemd's own and the unified one beside it. The controllers'
 * have the same groups, or none. */
const char *const cgroups_roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", NULL };

static int cgroup_compare(const void *a, const void *b) {
        const Cgroup *x = a, *y = b;

        return (x->watch > y->watch) - (x->watch < y->watch);
}

static void cgroup_free(void *userdata) {
        Cgroup *g = userdata;

        free(g->path);
        free(g);
}

static Cgroup *cgroups_find(Cgroups *c, int watch) {
        Cgroup key = { .watch = watch };
        Cgroup **node = tfind(&key, &c->by_watch, cgroup_compare);

        return node ? *node : NULL;
}

static int cgroups_watch(Cgroups *c, const char *path) {
        Cgroup *g;
        int watch;

        if (c->n >= CGROUPS_MAX)
                return -ENOSPC;
        watch = inotify_add_watch(c->inotify_fd, path, WATCHED);
        if (watch < 0)
                return -errno;
        if (cgroups_find(c, watch))
                return 0;
        g = calloc(1, sizeof(*g));
        if (!g)
                return -ENOMEM;
        *g = (Cgroup){ .watch = watch, .path = strdup(path) };
        if (!g->path || !tsearch(g, &c->by_watch, cgroup_compare)) {
                cgroup_free(g);
                return -ENOMEM;
        }
        c->n++;
        return 0;
}

/* The group first, then what is in it: what is made meanwhile is seen twice rather than never. */
static void cgroups_add(Cgroups *c, const char *path) {
        int r = cgroups_watch(c, path);
        struct dirent *entry;
        DIR *dir;

        if (r < 0) {
                if (r != -ENOENT && !c->warned)
                        log_info("%s and more cannot be watched (%s): what starts there is found when a list is asked for.", path,
                                 strerror(-r));
                c->warned |= r != -ENOENT;
                return;
        }
        dir = opendir(path);
        while (dir && (entry = readdir(dir))) {
                char below[PATH_MAX];

                if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
                    (size_t)snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) < sizeof(below))
                        cgroups_add(c, below);
        }
        if (dir)
                (void)closedir(dir);
}

static bool cgroups_dispatch(Cgroups *c, const struct inotify_event *event) {
        Cgroup *g = cgroups_find(c, event->wd);
        char path[PATH_MAX];

        if (event->mask & IN_Q_OVERFLOW)
                return true;
        if (!g)
                return false;
        if (event->mask & IN_IGNORED) {
                (void)tdelete(g, &c->by_watch, cgroup_compare);
                cgroup_free(g);
                c->n--;
                return false;
        }
        if (!(event->mask & IN_ISDIR) || event->len == 0 ||
            (size_t)snprintf(path, sizeof(path), "%s/%s", g->path, event->name) >= sizeof(path))
                return false;
        cgroups_add(c, path);
        return true;
}

static void cgroups_on_readable(evutil_socket_t fd, short what, void *userdata) {
        /* inotify(7): aligned for the events in it. */
        char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
        Cgroups *c = userdata;
        ssize_t n = read(fd, buffer, sizeof(buffer));
        bool made = false;

        for (ssize_t at = 0; at < n;) {
                const struct inotify_event *event = (const struct inotify_event *)(const void *)(buffer + at);

                at += (ssize_t)(sizeof(*event) + event->len);
                made |= cgroups_dispatch(c, event);
        }
        if (made)
                c->made(c->userdata);
}

static bool is_cgroup(const char *root) {
        char path[PATH_MAX];

        (void)snprintf(path, sizeof(path), "%s/cgroup.procs", root);
        return access(path, F_OK) == 0;
}

int cgroups_new(struct event_base *loop, const char *const *roots, void (*made)(void *userdata), void *userdata,
                Cgroups **ret) {
        Cgroups *c = calloc(1, sizeof(*c));
        int r = -ENOMEM;

        if (!c)
                return -ENOMEM;
        *c = (Cgroups){ .made = made, .userdata = userdata, .inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK) };
        if (c->inotify_fd < 0)
                r = -errno;
        else
                c->readable = event_new(loop, c->inotify_fd, EV_READ | EV_PERSIST, cgroups_on_readable, c);
        if (!c->readable || event_add(c->readable, NULL) < 0) {
                cgroups_free(c);
                return r;
        }
        for (; *roots; roots++)
                if (is_cgroup(*roots))
                        cgroups_add(c, *roots);
        *ret = c;
        return 0;
}

void cgroups_free(Cgroups *c) {
        if (!c)
                return;
        if (c->readable)
                event_free(c->readable);
        tdestroy(c->by_watch, cgroup_free);
        (void)fd_close(c->inotify_fd);
        free(c);
}
