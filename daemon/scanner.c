/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/scanner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/folder.h"
#include "daemon/log.h"
#include "daemon/manhole-name.h"
#include "daemon/scanner-foreign.h"
#include "daemon/socket-file.h"
#include "lib/cleanup.h"

#define PRIVATE_PREFIX "systemd-private-" /* systemd.exec(5), PrivateTmp= */

/* One that no target lies in, and that nobody watches. */
static void folder_discard(Folder *f) {
        (void)fd_close(f->fd);
        free(f->path);
        free(f);
}

void scanner_folder_free(Scanner *s, Folder *f) {
        Registry *registry = s->inspector->registry;
        Target *t = TAILQ_FIRST(&registry->targets);

        while (t) {
                Target *next = TAILQ_NEXT(t, link);

                if (t->folder == f)
                        inspector_forget(s->inspector, t);
                t = next;
        }
        if (f->watch >= 0)
                (void)inotify_rm_watch(s->inotify_fd, f->watch);
        if (f->kind == FOLDER_FOREIGN)
                scanner_foreign_forget(s, f);
        TAILQ_REMOVE(&s->folders, f, link);
        folder_discard(f);
}

/* A folder may have several names; its sockets are to be targets once. */
Folder *scanner_find_same_folder(const Scanner *s, const struct stat *st) {
        Folder *f;

        TAILQ_FOREACH(f, &s->folders, link)
                if (f->watch >= 0 && f->device == st->st_dev && f->inode == st->st_ino)
                        return f;
        return NULL;
}

/* For want of what may be there again: neither a sign that a file is gone, nor one of an attack. */
static bool is_shortage(int error) {
        return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOSPC;
}

/* Opens a folder that nobody but root or ourselves could have put there, and watches it. */
static int folder_open(Scanner *s, int dirfd, const char *name, const char *path, FolderKind kind, Folder **ret) {
        char link[64];
        struct stat st;
        Folder *f = calloc(1, sizeof(*f));
        int r;

        if (!f)
                return -ENOMEM;
        f->kind = kind;
        f->path = strdup(path);
        f->fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (kind == FOLDER_TOP ? 0 : O_NOFOLLOW));
        if (!f->path || f->fd < 0 || fstat(f->fd, &st) < 0) {
                r = f->path ? -errno : -ENOMEM;
                goto fail;
        }
        r = -EPERM;
        if (kind != FOLDER_TOP && st.st_uid != 0)
                goto fail;
        r = -EEXIST;
        if (scanner_find_same_folder(s, &st))
                goto fail;
        f->device = st.st_dev;
        f->inode = st.st_ino;
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", f->fd);
        f->watch = inotify_add_watch(s->inotify_fd, link, SCANNER_WATCHED);
        if (f->watch < 0) {
                r = -errno;
                goto fail;
        }
        TAILQ_INSERT_TAIL(&s->folders, f, link);
        *ret = f;
        return 0;
fail:
        /* As cheap as it was to make: anybody may make many that are refused here. */
        folder_discard(f);
        return r;
}

static Folder *find_folder(Scanner *s, const char *path) {
        Folder *f;

        TAILQ_FOREACH(f, &s->folders, link)
                if (strcmp(f->path, path) == 0)
                        return f;
        return NULL;
}

static void folder_enter(Scanner *s, Folder *parent, const char *name, FolderKind kind) {
        _cleanup_free_ char *path = NULL;
        Folder *f, *known;
        struct stat st;
        int r;

        if (asprintf(&path, "%s/%s", parent->path, name) < 0) {
                path = NULL;
                return;
        }
        known = find_folder(s, path);
        if (known) {
                if (fstatat(parent->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == known->inode &&
                    st.st_dev == known->device) {
                        scanner_folder_scan(s, known);
                        return;
                }
                scanner_folder_free(s, known);
        }
        r = folder_open(s, parent->fd, name, path, kind, &f);
        if (r < 0) {
                /* Else it is no folder of a service: anybody may make one of that name. */
                if (is_shortage(r))
                        log_warning("%s: cannot be watched: %s", path, strerror(-r));
                return;
        }
        scanner_folder_scan(s, f);
}

static Target *folder_new_target(Scanner *s, Folder *f, const char *name, const struct stat *st, pid_t ns_pid) {
        char path[64];
        Target *t;
        pid_t pid;

        if (f->kind != FOLDER_FOREIGN)
                return target_new(f, f->path, name, st, ns_pid);
        pid = scanner_foreign_find_process(s, f, ns_pid, st->st_uid);
        /* A process that began during the sweep: the next one knows it. */
        if (pid == 0 && socket_file_is_young(st))
                namespaces_sweep_soon(s->namespaces);
        (void)snprintf(path, sizeof(path), "/proc/%d/root/tmp", (int)pid);
        t = target_new(f, pid > 0 ? path : f->path, name, st, pid);
        if (t)
                t->ns_pid = ns_pid;
        return t;
}

void scanner_examine_socket(Scanner *s, Folder *f, const char *name, pid_t pid) {
        Inspector *i = s->inspector;
        Target *t = registry_find(i->registry, f, name);
        _cleanup_fd_ int fd = openat(f->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;
        bool is_socket;

        /* Not open now. */
        if (f->fd < 0 || (fd < 0 && is_shortage(-errno)))
                return;
        is_socket = fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
        if (t && t->pid == 0 && is_socket && scanner_foreign_find_process(s, f, pid, st.st_uid) > 0) {
                inspector_forget(i, t);
                t = NULL;
        }
        if (t && is_socket && socket_file_same(&t->file, &st)) {
                t->round = s->round;
                inspector_look_again(i, t);
                return;
        }
        /* Our own removal, seen before its answer: that answer is what gets recorded. */
        if (t && t->removing && fd < 0)
                return;
        if (t)
                inspector_forget(i, t);
        if (!is_socket || (s->uid != 0 && st.st_uid != s->uid))
                return;
        t = folder_new_target(s, f, name, &st, pid);
        if (t)
                t->round = s->round;
        if (!t || registry_add(i->registry, t) != 0) {
                s->passed_over = true;
                log_debug("%s/%s: one more than can be followed", f->path, name);
                target_free(t);
                return;
        }
        inspector_begin(i, t);
}

static void folder_examine(Scanner *s, Folder *f, const char *name) {
        pid_t pid;

        if (f->kind == FOLDER_SERVICE) {
                if (strcmp(name, "tmp") == 0)
                        folder_enter(s, f, name, FOLDER_TMP);
        } else if (manhole_name_parse(name, &pid) == 0)
                scanner_examine_socket(s, f, name, pid);
        else if (f->kind == FOLDER_TOP && s->uid == 0 &&
                 strncmp(name, PRIVATE_PREFIX, strlen(PRIVATE_PREFIX)) == 0)
                folder_enter(s, f, name, FOLDER_SERVICE);
}

void scanner_folder_scan(Scanner *s, Folder *f) {
        /* A foreign one was opened by manholed-priv, and may be closed to us. */
        int fd = f->kind == FOLDER_FOREIGN ? fcntl(f->fd, F_DUPFD_CLOEXEC, 0) :
                 openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *entry;

        if (!dir) {
                (void)fd_close(fd);
                return;
        }
        rewinddir(dir);
        while ((entry = readdir(dir)))
                folder_examine(s, f, entry->d_name);
        (void)closedir(dir);
}

static Folder *folder_of_watch(Scanner *s, int watch) {
        Folder *f;

        TAILQ_FOREACH(f, &s->folders, link)
                if (f->watch == watch)
                        return f;
        return NULL;
}

static void scanner_dispatch(Scanner *s, const struct inotify_event *event) {
        Folder *f;

        if (event->mask & IN_Q_OVERFLOW) {
                log_warning("inotify has lost events; looking at everything again");
                scanner_rescan(s);
                return;
        }
        f = folder_of_watch(s, event->wd);
        if (!f)
                return;
        if (event->mask & IN_IGNORED) {
                f->watch = -1;
                if (f->kind != FOLDER_TOP)
                        scanner_folder_free(s, f);
                else
                        log_warning("%s is gone", f->path);
        } else if (event->len > 0 && f->kind == FOLDER_FOREIGN)
                scanner_foreign_examine(s, f, event->name);
        else if (event->len > 0)
                folder_examine(s, f, event->name);
}

static void scanner_on_readable(evutil_socket_t fd, short what, void *userdata) {
        /* inotify(7): aligned for the events in it. */
        char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
        Scanner *s = userdata;
        ssize_t n = read(fd, buffer, sizeof(buffer));

        for (ssize_t at = 0; at < n;) {
                const struct inotify_event *event = (const struct inotify_event *)(const void *)(buffer + at);

                at += (ssize_t)(sizeof(*event) + event->len);
                scanner_dispatch(s, event);
        }
}

static void scanner_on_room(evutil_socket_t unused, short what, void *userdata) {
        Scanner *s = userdata;

        s->passed_over = false;
        scanner_rescan(s);
}

void scanner_target_gone(Scanner *s) {
        if (s->passed_over && !event_pending(s->room, EV_TIMEOUT, NULL))
                (void)event_add(s->room, &(struct timeval){ .tv_sec = 1 });
}

int scanner_new(struct event_base *loop, Inspector *inspector, Scanner **ret) {
        Scanner *s = calloc(1, sizeof(*s));
        int r = -ENOMEM;

        if (!s)
                return -ENOMEM;
        TAILQ_INIT(&s->folders);
        s->loop = loop;
        s->inspector = inspector;
        s->uid = geteuid();
        s->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (s->inotify_fd < 0)
                r = -errno;
        else
                s->readable = event_new(loop, s->inotify_fd, EV_READ | EV_PERSIST, scanner_on_readable, s);
        s->room = event_new(loop, -1, 0, scanner_on_room, s);
        if (s->room && s->readable && event_add(s->readable, NULL) == 0)
                r = scanner_foreign_init(s);
        if (r < 0) {
                scanner_free(s);
                return r;
        }
        *ret = s;
        return 0;
}

void scanner_free(Scanner *s) {
        Folder *f;

        if (!s)
                return;
        while ((f = TAILQ_FIRST(&s->folders)))
                scanner_folder_free(s, f);
        scanner_foreign_done(s);
        if (s->room)
                event_free(s->room);
        if (s->readable)
                event_free(s->readable);
        (void)fd_close(s->inotify_fd);
        free(s);
}

int scanner_check_folder(Scanner *s, const char *path) {
        _cleanup_fd_ int fd = -1;

        if (find_folder(s, path))
                return 0;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : 0;
}

int scanner_add_folder(Scanner *s, const char *path) {
        Folder *f;
        int r;

        if (find_folder(s, path))
                return 0;
        r = folder_open(s, AT_FDCWD, path, path, FOLDER_TOP, &f);
        if (r == -EEXIST)
                return 0;
        if (r < 0)
                return r;
        scanner_folder_scan(s, f);
        return 0;
}

/* That folder itself, or one of a service below it; but not another that was asked for by itself. */
static bool belongs_to(const Folder *f, const char *top) {
        size_t n = strlen(top);

        if (f->kind == FOLDER_TOP)
                return strcmp(f->path, top) == 0;
        return strncmp(f->path, top, n) == 0 && f->path[n] == '/';
}

void scanner_keep_folders(Scanner *s, const char *const *paths, size_t n_paths) {
        Folder *f = TAILQ_FIRST(&s->folders);

        while (f) {
                Folder *next = TAILQ_NEXT(f, link);
                bool kept = f->kind == FOLDER_FOREIGN; /* asked for by nobody */

                for (size_t i = 0; i < n_paths && !kept; i++)
                        kept = belongs_to(f, paths[i]);
                if (!kept)
                        scanner_folder_free(s, f);
                f = next;
        }
}

void scanner_each_folder(const Scanner *s, void (*each)(const char *path, void *userdata), void *userdata) {
        const Folder *f;

        TAILQ_FOREACH(f, &s->folders, link)
                if (f->kind == FOLDER_TOP)
                        each(f->path, userdata);
}

void scanner_drop_missing(Scanner *s, const Folder *only) {
        Registry *registry = s->inspector->registry;
        Target *t = TAILQ_FIRST(&registry->targets);

        while (t) {
                Target *next = TAILQ_NEXT(t, link);
                bool seen = t->round == s->round || (only && t->folder != only);
                /* The target may go, and its name with it, before another takes its place. */
                _cleanup_free_ char *name = seen ? NULL : strdup(t->name);

                if (name)
                        scanner_examine_socket(s, t->folder, name, t->ns_pid);
                t = next;
        }
}

/* Nothing tells that a folder is gone while we have it open. One that was asked for may have been made
 * anew; those of services are found again through theirs. */
static void folder_renew(Scanner *s, Folder *f) {
        struct stat st;
        Folder *renewed;

        if (f->kind != FOLDER_TOP) {
                if (fstat(f->fd, &st) == 0 && st.st_nlink == 0)
                        scanner_folder_free(s, f);
        } else if (stat(f->path, &st) == 0 && (st.st_dev != f->device || st.st_ino != f->inode) &&
                   folder_open(s, AT_FDCWD, f->path, f->path, FOLDER_TOP, &renewed) == 0)
                scanner_folder_free(s, f);
}

void scanner_rescan(Scanner *s) {
        Folder *f = TAILQ_FIRST(&s->folders);

        s->round++;
        while (f) {
                Folder *next = TAILQ_NEXT(f, link);

                folder_renew(s, f);
                f = next;
        }
        /* Folders of services are reached through the top ones. */
        TAILQ_FOREACH(f, &s->folders, link)
                if (f->kind == FOLDER_TOP)
                        scanner_folder_scan(s, f);
        scanner_drop_missing(s, NULL);
        scanner_foreign_rescan(s);
}
