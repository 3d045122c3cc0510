/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The part of the scanner that looks into the /tmp of other mount namespaces (namespaces.h).
 *
 * Such a folder is open only while a sweep looks into it, or while a process serves a socket in it, which
 * itself keeps the container from unmounting it. Otherwise only inotify watches it: that does not.
 */

#include "daemon/scanner.h"

/* 0 or negative errno. */
int scanner_foreign_init(Scanner *s);
void scanner_foreign_done(Scanner *s);

/* Looks for namespaces, and into all that are known; the registry counts that as pending. */
void scanner_foreign_rescan(Scanner *s);

/* Something has come or gone in the folder. */
void scanner_foreign_examine(Scanner *s, Folder *f, const char *name);

/* The process that a file of this owner is named after; 0 when it cannot be told. */
pid_t scanner_foreign_find_process(const Scanner *s, const Folder *f, pid_t ns_pid, uid_t owner);

/* The folder is no longer followed. */
void scanner_foreign_forget(Scanner *s, const Folder *f);
