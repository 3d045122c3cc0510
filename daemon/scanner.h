/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Finds socket files: in /tmp and every folder asked for, in the private /tmp of services,
 * which lies below /tmp/systemd-private-*, and in the /tmp of containers. inotify tells what comes and
 * goes; a full look happens at the start, when inotify has lost events, and when somebody asks for the
 * list.
 */

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/inotify.h>

#include "daemon/cgroups.h"
#include "daemon/folder.h"
#include "daemon/inspector.h"
#include "daemon/namespaces.h"
#include "daemon/quota.h"

#define SCANNER_WATCHED (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR | IN_EXCL_UNLINK)

typedef struct ForeignSpace ForeignSpace;

typedef struct Scanner {
        struct event_base *loop; /* borrowed */
        Inspector *inspector;    /* borrowed */
        int inotify_fd;          /* owned */
        struct event *readable;  /* owned */
        uid_t uid;               /* 0: sockets of all users */
        struct event *room;      /* owned; a look when there may be room for what was passed over */
        bool passed_over;        /* there was a socket that could not be followed */
        uint64_t round;          /* looks at everything that have begun */
        TAILQ_HEAD(, Folder) folders;
        /* Of scanner-foreign.c. */
        Namespaces *namespaces; /* owned */
        Cgroups *cgroups;       /* owned */
        Quota foreign_owners;   /* foreign folders of each owner */
        ForeignSpace *spaces;   /* owned; of the sweep under way, or the last one */
        size_t n_spaces;
        bool sweep_pending; /* counted in the registry */
} Scanner;

/* The inspector is borrowed. As an ordinary user, only sockets of that user are looked at. */
int scanner_new(struct event_base *loop, Inspector *inspector, Scanner **ret);
void scanner_free(Scanner *s);

/* Whether a folder could be added: 0 or negative errno. */
int scanner_check_folder(Scanner *s, const char *path);

/* Adds a folder to look into, if it is not known yet: 0 or negative errno. */
int scanner_add_folder(Scanner *s, const char *path);

/* Forgets the folders that were added and are not among @paths. */
void scanner_keep_folders(Scanner *s, const char *const *paths, size_t n_paths);

/* The folders that were asked for. */
void scanner_each_folder(const Scanner *s, void (*each)(const char *path, void *userdata), void *userdata);

/* A target is gone, and there is room for another. */
void scanner_target_gone(Scanner *s);

/* Looks into every folder again. What is new is pending in the registry afterwards. */
void scanner_rescan(Scanner *s);

/* For scanner-foreign.c alone. */

/* A folder may have several names; its sockets are to be targets once. */
Folder *scanner_find_same_folder(const Scanner *s, const struct stat *st);
void scanner_folder_scan(Scanner *s, Folder *f);
void scanner_folder_free(Scanner *s, Folder *f);
void scanner_examine_socket(Scanner *s, Folder *f, const char *name, pid_t pid);
/* Drops targets, of one folder or all, whose file went away while nobody told. */
void scanner_drop_missing(Scanner *s, const Folder *only);
