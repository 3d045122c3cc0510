/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The shape of a configuration file, as systemd.syntax(7): sections, which may bear a name in quotes,
 * and assignments. Pure; what they mean is the callee's business (config.c).
 *
 *   [Section]             [Section "name"]
 *   Key=value             # and ; begin a comment
 */

#include <stddef.h>

/* What is wrong, for a person: "FILE:LINE: …". */
typedef struct IniError {
        char text[512];
} IniError;

typedef struct IniHandler {
        /* A section begins; @name is NULL without one, @place is "FILE:LINE". NULL, or what is wrong
         * with it. */
        const char *(*section)(void *userdata, const char *kind, const char *name, const char *place);
        /* An assignment in it. NULL, or what is wrong. */
        const char *(*assignment)(void *userdata, const char *key, const char *value);
        /* The section is over, by the next one or by the end of the text. NULL, or what it lacks. */
        const char *(*end)(void *userdata);
        void *userdata;
} IniHandler;

/* Calls @handler for each line of @text that says something, until one is wrong: 0, -ENOMEM, or
 * -EBADMSG with @ret_error. @file names the text in an error. */
int ini_parse(const char *file, const char *text, const IniHandler *handler, IniError *ret_error);

/* Reads a whole file, which may not hold NUL. As ini_parse(), and -errno with @ret_error. */
int ini_load(const char *path, const IniHandler *handler, IniError *ret_error);
