/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/resolver.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/thread.h"
#include "lib/cleanup.h"

#define NSS_BUFFER 65536U
/* A group comes with the names of all its members. */
#define NSS_BUFFER_MAX (16U * 1024U * 1024U)

/* Shared with the thread, which may outlive everything else inside a name service. */
typedef struct Job {
        pthread_mutex_t lock;
        unsigned n_ref;
        int event_fd; /* owned */
        Policy policy;
} Job;

struct Resolver {
        struct event_base *loop; /* borrowed */
        Job *job;                /* one reference; NULL when idle */
        struct event *answer;    /* owned; NULL when idle */
        void (*done)(Policy *policy, void *userdata);
        void *userdata;
};

/* ----------------------------------------------------------- name service */

/* 0, or ERANGE when @buffer is too small. */
static int find_user(PolicyName *name, char *buffer, size_t size) {
        struct passwd pw, *found = NULL;
        int r = getpwnam_r(name->text, &pw, buffer, size, &found);

        if (found) {
                name->known = true;
                name->id = pw.pw_uid;
        }
        return r;
}

static int find_group(PolicyName *name, char *buffer, size_t size) {
        struct group gr, *found = NULL;
        int r = getgrnam_r(name->text, &gr, buffer, size, &found);

        if (found) {
                name->known = true;
                name->id = gr.gr_gid;
        }
        return r;
}

static void find_each(PolicyNames *names, int (*find)(PolicyName *name, char *buffer, size_t size)) {
        for (size_t i = 0; i < names->n; i++)
                for (size_t size = NSS_BUFFER; !names->names[i].known && size <= NSS_BUFFER_MAX; size *= 4) {
                        _cleanup_free_ char *buffer = malloc(size);

                        if (!buffer || find(names->names + i, buffer, size) != ERANGE)
                                break;
                }
}

void resolve_policy(Policy *policy) {
        for (size_t i = 0; i < policy->n_rules; i++) {
                PolicyRule *rule = policy->rules[i];

                find_each(&rule->users, find_user);
                find_each(&rule->groups, find_group);
                find_each(&rule->target_users, find_user);
        }
}

/* ----------------------------------------------------------------- thread */

static void job_unref(Job *job) {
        bool last;

        (void)pthread_mutex_lock(&job->lock);
        last = --job->n_ref == 0;
        (void)pthread_mutex_unlock(&job->lock);
        if (!last)
                return;
        policy_done(&job->policy);
        (void)fd_close(job->event_fd);
        (void)pthread_mutex_destroy(&job->lock);
        free(job);
}

static void *job_main(void *userdata) {
        const uint64_t one = 1;
        Job *job = userdata;

        resolve_policy(&job->policy);
        (void)!write(job->event_fd, &one, sizeof(one)); /* the counter never fills */
        job_unref(job);
        return NULL;
}

static int job_start(Job *job) {
        int r;

        job->n_ref++;
        r = thread_start(job_main, job, 0);
        if (r < 0)
                job->n_ref--;
        return r;
}

static int job_new(Job **ret) {
        Job *job = calloc(1, sizeof(*job));

        if (!job)
                return -ENOMEM;
        (void)pthread_mutex_init(&job->lock, NULL);
        job->n_ref = 1;
        job->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (job->event_fd < 0) {
                int r = -errno;

                job_unref(job);
                return r;
        }
        *ret = job;
        return 0;
}

/* ------------------------------------------------------------------- loop */

static void resolver_drop_job(Resolver *r) {
        if (r->answer)
                event_free(r->answer);
        r->answer = NULL;
        if (r->job)
                job_unref(r->job);
        r->job = NULL;
}

static void resolver_on_answer(evutil_socket_t fd, short what, void *userdata) {
        Resolver *r = userdata;
        Policy policy;

        /* The thread wrote, and looks at it no more: write(2) and read(2) are as good as a lock. */
        policy = r->job->policy;
        r->job->policy = (Policy){};
        resolver_drop_job(r);
        r->done(&policy, r->userdata);
}

int resolver_begin(Resolver *r, Policy *policy) {
        int k;

        assert(!r->job);
        k = job_new(&r->job);
        if (k < 0)
                return k;
        r->answer = event_new(r->loop, r->job->event_fd, EV_READ, resolver_on_answer, r);
        if (!r->answer || event_add(r->answer, NULL) < 0)
                k = -ENOMEM;
        if (k == 0) {
                r->job->policy = *policy;
                k = job_start(r->job);
                if (k < 0)
                        r->job->policy = (Policy){};
        }
        if (k < 0)
                resolver_drop_job(r);
        else
                *policy = (Policy){};
        return k;
}

bool resolver_is_busy(const Resolver *r) {
        return r->job;
}

int resolver_new(struct event_base *loop, void (*done)(Policy *policy, void *userdata), void *userdata,
                 Resolver **ret) {
        Resolver *r = calloc(1, sizeof(*r));

        if (!r)
                return -ENOMEM;
        *r = (Resolver){ .loop = loop, .done = done, .userdata = userdata };
        *ret = r;
        return 0;
}

void resolver_free(Resolver *r) {
        if (!r)
                return;
        resolver_drop_job(r);
        free(r);
}
