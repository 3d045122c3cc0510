/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Finds socket files: in /tmp and every folder asked for, and in the private /tmp of services,
 * which lies below /tmp/systemd-private-*. inotify tells what comes and goes; a full look happens
 * at the start, when inotify has lost events, and when somebody asks for the list.
 */

#include <event2/event.h>
#include <stddef.h>

#include "daemon/inspector.h"

typedef struct Scanner Scanner;

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

/* Looks into every folder again. What is new is pending in the registry afterwards. */
void scanner_rescan(Scanner *s);
