/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/namespaces.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "lib/cleanup.h"

/* More processes in namespaces of their own than are followed. */
#define PROCESSES_MAX 65536U

static const struct timeval SOON = { .tv_usec = 20 * 1000 };
/* A container's first process sets up its mounts a while after its cgroup is made. */
static const struct timeval EXPECTED[] = { { .tv_usec = 200 * 1000 }, { .tv_sec = 1 }, { .tv_sec = 5 } };
#define N_EXPECTED (sizeof(EXPECTED) / sizeof(*EXPECTED))

struct Namespaces {
        Priv *priv;
        const NamespacesEvents *events;
        void *userdata;
        struct event *soon, *expected; /* owned */
        unsigned n_expected; /* waits that are over */
        PrivCall call;
        PrivProcess *processes; /* owned: of the sweep under way or the last one, by namespace and pid */
        size_t n_processes, next; /* next: whose namespace's /tmp is asked for */
        bool sweeping, again;
        bool complete;
};

static void namespaces_on_processes(PrivCall *call, int error, int fd, void *userdata);
static void namespaces_open_next(Namespaces *n);

static void namespaces_end_sweep(Namespaces *n) {
        n->sweeping = false;
        n->events->swept(n->complete, n->userdata);
        if (n->again)
                namespaces_sweep(n);
}

static void namespaces_ask(Namespaces *n, pid_t after) {
        if (priv_list_processes(n->priv, &n->call, after, namespaces_on_processes, n) < 0) {
                n->complete = false;
                namespaces_end_sweep(n);
        }
}

static int process_compare(const void *a, const void *b) {
        const PrivProcess *x = a, *y = b;

        if (x->mount_ns != y->mount_ns)
                return x->mount_ns < y->mount_ns ? -1 : 1;
        return (x->pid > y->pid) - (x->pid < y->pid);
}

/* Adds what @fd holds. The pid to go on after, 0 at the end, or negative errno. */
static pid_t namespaces_add(Namespaces *n, int fd) {
        PrivProcess batch[PRIV_PROCESSES_MAX + 1], *grown;
        ssize_t size = pread(fd, batch, sizeof(batch), 0);
        pid_t after = 0;
        size_t k;

        if (size < 0)
                return -errno;
        k = (size_t)size / sizeof(*batch);
        if (k > 0 && batch[k - 1].mount_ns == 0)
                after = batch[--k].pid;
        if (k == 0)
                return after;
        if (n->n_processes + k > PROCESSES_MAX)
                return -E2BIG;
        grown = reallocarray(n->processes, n->n_processes + k, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        memcpy(grown + n->n_processes, batch, k * sizeof(*batch));
        n->processes = grown;
        n->n_processes += k;
        return after;
}

static void namespaces_on_processes(PrivCall *call, int error, int fd, void *userdata) {
        Namespaces *n = userdata;
        pid_t after = error < 0 ? error : namespaces_add(n, fd);

        (void)fd_close(fd);
        if (after > 0) {
                namespaces_ask(n, after);
                return;
        }
        if (after < 0) {
                log_debug("Processes cannot be listed: %s", strerror((int)-after));
                n->complete = false;
        }
        if (n->n_processes > 0)
                qsort(n->processes, n->n_processes, sizeof(*n->processes), process_compare);
        namespaces_open_next(n);
}

static void namespaces_on_opened(PrivCall *call, int error, int fd, void *userdata) {
        Namespaces *n = userdata;
        const PrivProcess *p = &n->processes[n->next];

        if (error == 0)
                n->events->found(p->mount_ns, p->pid, fd, n->userdata);
        (void)fd_close(fd);
        n->next++;
        /* One of a namespace is enough, unless it has just ended. */
        while (error == 0 && n->next < n->n_processes && n->processes[n->next].mount_ns == p->mount_ns)
                n->next++;
        namespaces_open_next(n);
}

static void namespaces_open_next(Namespaces *n) {
        const PrivProcess *p = &n->processes[n->next];

        if (n->next == n->n_processes)
                namespaces_end_sweep(n);
        else if (priv_open_tmp(n->priv, &n->call, p->pid, p->start_time, namespaces_on_opened, n) < 0) {
                n->complete = false;
                namespaces_end_sweep(n);
        }
}

void namespaces_sweep(Namespaces *n) {
        n->again = n->sweeping;
        if (n->sweeping)
                return;
        n->sweeping = n->complete = true;
        n->n_processes = n->next = 0;
        (void)event_del(n->soon);
        n->events->begun(n->userdata);
        namespaces_ask(n, 0);
}

void namespaces_sweep_soon(Namespaces *n) {
        if (!event_pending(n->soon, EV_TIMEOUT, NULL))
                (void)event_add(n->soon, &SOON);
}

void namespaces_expect(Namespaces *n) {
        n->n_expected = 0;
        (void)event_add(n->expected, &EXPECTED[0]);
}

static void namespaces_on_soon(evutil_socket_t unused, short what, void *userdata) {
        namespaces_sweep(userdata);
}

static void namespaces_on_expected(evutil_socket_t unused, short what, void *userdata) {
        Namespaces *n = userdata;

        if (++n->n_expected < N_EXPECTED)
                (void)event_add(n->expected, &EXPECTED[n->n_expected]);
        namespaces_sweep(n);
}

bool namespaces_are_swept(const Namespaces *n) {
        return !n->sweeping && !n->again;
}

const PrivProcess *namespaces_processes(const Namespaces *n, size_t *ret_n) {
        *ret_n = n->n_processes;
        return n->processes;
}

int namespaces_new(struct event_base *loop, Priv *priv, const NamespacesEvents *events, void *userdata, Namespaces **ret) {
        Namespaces *n = calloc(1, sizeof(*n));

        if (!n)
                return -ENOMEM;
        *n = (Namespaces){ .priv = priv, .events = events, .userdata = userdata,
                           .soon = event_new(loop, -1, 0, namespaces_on_soon, n),
                           .expected = event_new(loop, -1, 0, namespaces_on_expected, n) };
        if (!n->soon || !n->expected) {
                namespaces_free(n);
                return -ENOMEM;
        }
        *ret = n;
        return 0;
}

void namespaces_free(Namespaces *n) {
        if (!n)
                return;
        priv_call_cancel(&n->call);
        if (n->soon)
                event_free(n->soon);
        if (n->expected)
                event_free(n->expected);
        free(n->processes);
        free(n);
}
