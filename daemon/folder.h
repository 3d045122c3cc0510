/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* A folder that is watched for sockets: plain data. The scanner owns folders; targets lie in them. */

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

typedef enum FolderKind {
        FOLDER_TOP,     /* sockets, and folders of services */
        FOLDER_SERVICE, /* systemd-private-*: its only content is "tmp" */
        FOLDER_TMP,     /* a service's /tmp */
        FOLDER_FOREIGN, /* the /tmp of another mount namespace */
} FolderKind;

typedef struct Folder Folder;

struct Folder {
        TAILQ_ENTRY(Folder) link;
        FolderKind kind;
        char *path;  /* owned; for people */
        int fd;      /* owned; -1: a foreign one is open only at times, scanner-foreign.h */
        int watch;   /* inotify watch descriptor; -1 when there is none (any more) */
        dev_t device; /* with the inode tells a folder from its successor */
        ino_t inode;
        uid_t owner; /* of a foreign one */
        bool seen;   /* by the sweep under way: it has a process still */
};
