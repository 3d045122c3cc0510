/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/scanner-foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "daemon/log.h"
#include "daemon/manhole-name.h"
#include "lib/cleanup.h"

/* Of one owner: anybody may make namespaces with a /tmp of their own. */
#define FOLDERS_PER_OWNER 256U

/* In this mount namespace, /tmp is that folder. */
struct ForeignSpace {
        uint64_t mount_ns;
        const Folder *folder; /* borrowed */
};

static int space_add(Scanner *s, uint64_t mount_ns, const Folder *f) {
        ForeignSpace *grown = reallocarray(s->spaces, s->n_spaces + 1, sizeof(*grown));

        if (!grown)
                return -ENOMEM;
        s->spaces = grown;
        s->spaces[s->n_spaces++] = (ForeignSpace){ mount_ns, f };
        return 0;
}

static const Folder *space_find(const Scanner *s, uint64_t mount_ns) {
        for (size_t i = 0; i < s->n_spaces; i++)
                if (s->spaces[i].mount_ns == mount_ns)
                        return s->spaces[i].folder;
        return NULL;
}

static bool is_uid_of(pid_t pid, uid_t uid) {
        ProcStatus ids;

        return proc_read_status(pid, &ids) == 0 && (uid == ids.euid || uid == ids.ruid || uid == ids.suid);
}

/* Several pid namespaces may share a /tmp, and a number: then the file's owner decides. */
pid_t scanner_foreign_find_process(const Scanner *s, const Folder *f, pid_t ns_pid, uid_t owner) {
        size_t n;
        const PrivProcess *p = namespaces_processes(s->namespaces, &n);
        pid_t found = 0, of_owner = 0;
        unsigned n_found = 0, n_of_owner = 0;

        for (const PrivProcess *end = p + n; p < end; p++) {
                if (p->ns_pid != ns_pid || space_find(s, p->mount_ns) != f)
                        continue;
                found = p->pid;
                n_found++;
                if (is_uid_of(p->pid, owner)) {
                        of_owner = p->pid;
                        n_of_owner++;
                }
        }
        if (n_found == 1)
                return found;
        return n_of_owner == 1 ? of_owner : 0;
}

static int foreign_watch(Scanner *s, int fd) {
        char link[64];
        int watch;

        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        watch = inotify_add_watch(s->inotify_fd, link, SCANNER_WATCHED);
        return watch < 0 ? -errno : watch;
}

static int foreign_open(Scanner *s, pid_t pid, int fd, const struct stat *st, Folder **ret) {
        Folder *f;
        int r = quota_charge(&s->foreign_owners, st->st_uid);

        if (r != 0)
                return r < 0 ? r : -EDQUOT;
        f = calloc(1, sizeof(*f));
        if (!f) {
                quota_release(&s->foreign_owners, st->st_uid);
                return -ENOMEM;
        }
        *f = (Folder){ .kind = FOLDER_FOREIGN, .fd = -1, .watch = -1, .device = st->st_dev, .inode = st->st_ino,
                       .owner = st->st_uid };
        TAILQ_INSERT_TAIL(&s->folders, f, link);
        if (asprintf(&f->path, "/proc/%d/root/tmp", (int)pid) < 0)
                f->path = NULL;
        r = f->path ? foreign_watch(s, fd) : -ENOMEM;
        if (r < 0) {
                scanner_folder_free(s, f);
                return r;
        }
        f->watch = r;
        *ret = f;
        return 0;
}

/* What processes call themselves is known when the sweep is over: then it is looked into. */
static void foreign_on_found(uint64_t mount_ns, pid_t pid, int fd, void *userdata) {
        Scanner *s = userdata;
        struct stat st;
        Folder *f;
        int r = 0;

        if (fstat(fd, &st) < 0)
                return;
        f = scanner_find_same_folder(s, &st);
        /* A container's numbers are the next one's when it has gone. */
        if (f && f->kind == FOLDER_FOREIGN && foreign_watch(s, fd) != f->watch) {
                scanner_folder_free(s, f);
                f = NULL;
        }
        if (!f)
                r = foreign_open(s, pid, fd, &st, &f);
        if (r < 0)
                log_debug("/proc/%d/root/tmp: cannot be watched: %s", (int)pid, strerror(-r));
        if (r < 0 || space_add(s, mount_ns, f) < 0 || f->kind != FOLDER_FOREIGN)
                return;
        f->seen = true;
        if (f->fd < 0)
                f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static void foreign_on_swept(bool complete, void *userdata) {
        Scanner *s = userdata;
        Folder *f = TAILQ_FIRST(&s->folders), *next;

        s->round++;
        for (; f; f = next) {
                next = TAILQ_NEXT(f, link);
                if (f->kind != FOLDER_FOREIGN)
                        continue;
                if (complete && !f->seen) {
                        scanner_folder_free(s, f); /* its last process is gone */
                        continue;
                }
                f->seen = false;
                scanner_folder_scan(s, f);
                scanner_drop_missing(s, f);
                inspector_release_folder(s->inspector, f);
        }
        if (s->sweep_pending && namespaces_are_swept(s->namespaces)) {
                s->sweep_pending = false;
                inspector_settled(s->inspector);
        }
}

/* What was found before is void: a namespace may have got another /tmp. */
static void foreign_on_begun(void *userdata) {
        ((Scanner *)userdata)->n_spaces = 0;
}

void scanner_foreign_rescan(Scanner *s) {
        if (!s->sweep_pending)
                s->inspector->registry->n_pending++;
        s->sweep_pending = true;
        namespaces_sweep(s->namespaces);
}

void scanner_foreign_examine(Scanner *s, Folder *f, const char *name) {
        pid_t pid;

        if (manhole_name_parse(name, &pid) < 0)
                return;
        if (f->fd >= 0 && registry_find(s->inspector->registry, f, name))
                scanner_examine_socket(s, f, name, pid);
        else /* whose it is has to be found out */
                namespaces_sweep_soon(s->namespaces);
}

void scanner_foreign_forget(Scanner *s, const Folder *f) {
        size_t n = 0;

        quota_release(&s->foreign_owners, f->owner);
        for (size_t i = 0; i < s->n_spaces; i++)
                if (s->spaces[i].folder != f)
                        s->spaces[n++] = s->spaces[i];
        s->n_spaces = n;
}

static void foreign_on_cgroup(void *userdata) {
        namespaces_expect(((Scanner *)userdata)->namespaces);
}

int scanner_foreign_init(Scanner *s) {
        static const NamespacesEvents events = { foreign_on_begun, foreign_on_found, foreign_on_swept };
        int r;

        quota_init(&s->foreign_owners, FOLDERS_PER_OWNER);
        r = namespaces_new(s->loop, s->inspector->priv, &events, s, &s->namespaces);
        if (r < 0)
                return r;
        namespaces_sweep_soon(s->namespaces);
        return cgroups_new(s->loop, cgroups_roots, foreign_on_cgroup, s, &s->cgroups);
}

/* The folders are freed already. */
void scanner_foreign_done(Scanner *s) {
        cgroups_free(s->cgroups);
        namespaces_free(s->namespaces);
        quota_done(&s->foreign_owners);
        free(s->spaces);
}
