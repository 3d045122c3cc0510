/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/source.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/changed.h"
#include "agent/clock.h"

#define FILE_SIZE_MAX (4 * 1024 * 1024)
#define LINE_MAX_SHOWN 512

void source_init(SourceCache *c, int msec) {
        *c = (SourceCache){ .until_ns = clock_now_ns() + msec * CLOCK_NSEC_PER_MSEC };
}

static void forget(SourceFile *f) {
        free(f->name);
        free(f->data);
        *f = (SourceFile){};
}

void source_done(SourceCache *c) {
        for (size_t i = 0; i < SOURCE_FILES_MAX; i++)
                forget(&c->files[i]);
}

/* Writes @c as UTF-8, or the byte that a lone surrogate stands for in a file's name. */
static char *put_character(char *p, unsigned long c) {
        if (c >= 0xDC80 && c <= 0xDCFF)
                *p++ = (char)(c - 0xDC00);
        else if (c < 0x80)
                *p++ = (char)c;
        else if (c < 0x800) {
                *p++ = (char)(0xC0 | c >> 6);
                *p++ = (char)(0x80 | (c & 0x3F));
        } else if (c < 0x10000) {
                *p++ = (char)(0xE0 | c >> 12);
                *p++ = (char)(0x80 | (c >> 6 & 0x3F));
                *p++ = (char)(0x80 | (c & 0x3F));
        } else {
                *p++ = (char)(0xF0 | (c >> 18 & 7));
                *p++ = (char)(0x80 | (c >> 12 & 0x3F));
                *p++ = (char)(0x80 | (c >> 6 & 0x3F));
                *p++ = (char)(0x80 | (c & 0x3F));
        }
        return p;
}

/* \xHH, \uHHHH, \UHHHHHHHH: characters. The result is never longer. */
static char *unescape(const char *name, size_t n) {
        char *path = malloc(n + 1), *p = path;

        if (path == NULL)
                return NULL;
        for (size_t i = 0; i < n; i++) {
                size_t digits = 0;
                char hex[9] = {}, *end;
                unsigned long c;

                if (name[i] == '\\' && i + 1 < n)
                        digits = name[i + 1] == 'x'   ? 2
                                 : name[i + 1] == 'u' ? 4
                                 : name[i + 1] == 'U' ? 8
                                                      : 0;
                if (digits > 0 && i + 1 + digits < n) {
                        memcpy(hex, name + i + 2, digits);
                        c = strtoul(hex, &end, 16);
                        if (*end == '\0') {
                                p = put_character(p, c);
                                i += 1 + digits;
                                continue;
                        }
                }
                *p++ = name[i];
        }
        *p = '\0';
        return path;
}

/* Reads the whole file, if it is a file. */
static void load(SourceFile *f, const char *path) {
        struct statx file;
        int fd;

        /* What is not a file must not be waited for. */
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return;
        if (changed_look(fd, "", &file) && S_ISREG(file.stx_mode)) {
                f->changed = changed_since(&file);
                if (!f->changed && file.stx_size > 0 && file.stx_size <= FILE_SIZE_MAX)
                        f->data = malloc(file.stx_size);
        }
        while (f->data != NULL && f->n_data < file.stx_size) {
                ssize_t n = read(fd, f->data + f->n_data, file.stx_size - f->n_data);

                if (n <= 0)
                        break;
                f->n_data += (size_t)n;
        }
        close(fd);
}

static SourceFile *find(SourceCache *c, const char *name, size_t n_name) {
        SourceFile *f;
        char *path;

        for (size_t i = 0; i < SOURCE_FILES_MAX; i++)
                if (c->files[i].name != NULL && strlen(c->files[i].name) == n_name &&
                    memcmp(c->files[i].name, name, n_name) == 0)
                        return &c->files[i];
        if (clock_now_ns() > c->until_ns)
                return NULL;

        f = &c->files[c->n_opened++ % SOURCE_FILES_MAX];
        forget(f);
        f->name = strndup(name, n_name);
        path = unescape(name, n_name);
        if (f->name != NULL && path != NULL)
                load(f, path);
        free(path);
        return f;
}

bool source_line(SourceCache *c, const char *name, size_t n_name, long line, const char **ret,
                 size_t *ret_n) {
        const SourceFile *f = find(c, name, n_name);
        const char *p, *end, *newline;
        size_t n;

        if (f != NULL && f->changed) {
                *ret = CHANGED_REMARK;
                *ret_n = strlen(CHANGED_REMARK);
                return true;
        }
        if (f == NULL || f->data == NULL || line < 1)
                return false;
        p = f->data;
        end = p + f->n_data;
        while (--line > 0) {
                newline = memchr(p, '\n', (size_t)(end - p));
                if (newline == NULL)
                        return false;
                p = newline + 1;
        }
        newline = memchr(p, '\n', (size_t)(end - p));
        if (newline != NULL)
                end = newline;
        while (p < end && (*p == ' ' || *p == '\t' || *p == '\f'))
                p++;
        while (p < end && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
                end--;
        n = (size_t)(end - p);
        *ret = p;
        *ret_n = n < LINE_MAX_SHOWN ? n : LINE_MAX_SHOWN;
        return n > 0;
}
