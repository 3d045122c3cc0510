/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Lines of source files, read without the interpreter. Pure but for the files; no Python API.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCE_FILES_MAX 16

typedef struct SourceFile {
        char *name; /* owned */
        char *data; /* owned; NULL: cannot be read */
        bool changed; /* see changed.h */
        size_t n_data;
} SourceFile;

typedef struct SourceCache {
        int64_t until_ns; /* of CLOCK_MONOTONIC: no file is opened after that */
        SourceFile files[SOURCE_FILES_MAX];
        size_t n_opened;
} SourceCache;

/* Files are read until @msec from now. */
void source_init(SourceCache *c, int msec);
void source_done(SourceCache *c);

/*
 * Points @ret at a line (from 1) of a file as faulthandler names it, in ASCII with escapes; without
 * indentation and newline; the remark where the file has changed. False when it cannot be had. Valid until the next call.
 */
bool source_line(SourceCache *c, const char *name, size_t n_name, long line, const char **ret,
                 size_t *ret_n);
