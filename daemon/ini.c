/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/ini.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/fd.h"

#define FILE_MAX (256U * 1024U)

static char *strip(char *text) {
        char *end;

        while (isspace((unsigned char)*text))
                text++;
        end = text + strlen(text);
        while (end > text && isspace((unsigned char)end[-1]))
                end--;
        *end = '\0';
        return text;
}

/* `[Kind]` or `[Kind "name"]`, with nothing around it. */
static const char *parse_section(const IniHandler *handler, char *line) {
        static const char wrong[] = "not a section: [NAME] or [NAME \"name\"] is wanted";
        size_t n = strlen(line);
        char *name;

        if (line[n - 1] != ']')
                return wrong;
        line[n - 1] = '\0';
        line++;
        name = strchr(line, ' ');
        if (!name)
                return handler->section(handler->userdata, line, NULL);
        *name = '\0';
        name = strip(name + 1);
        n = strlen(name);
        if (n < 3 || name[0] != '"' || name[n - 1] != '"')
                return wrong;
        name[n - 1] = '\0';
        return handler->section(handler->userdata, line, name + 1);
}

/* NULL, or what is wrong with the line. */
static const char *parse_line(const IniHandler *handler, char *line, bool *in_section) {
        char *value;

        line = strip(line);
        if (!*line || *line == '#' || *line == ';')
                return NULL;
        if (*line == '[') {
                *in_section = true;
                return parse_section(handler, line);
        }
        value = strchr(line, '=');
        if (!value)
                return "neither a section nor an assignment";
        if (!*in_section)
                return "assignment outside a section";
        *value = '\0';
        return handler->assignment(handler->userdata, strip(line), strip(value + 1));
}

int ini_parse(const char *file, const char *text, const IniHandler *handler, IniError *ret_error) {
        _cleanup_free_ char *copy = strdup(text);
        bool in_section = false;
        unsigned number = 0;
        char *rest = copy;

        if (!copy)
                return -ENOMEM;
        for (char *line; (line = strsep(&rest, "\n"));) {
                const char *wrong = parse_line(handler, line, &in_section);

                number++;
                if (wrong) {
                        (void)snprintf(ret_error->text, sizeof(ret_error->text), "%.256s:%u: %s", file, number,
                                       wrong);
                        return -EBADMSG;
                }
        }
        return 0;
}

int ini_load(const char *path, const IniHandler *handler, IniError *ret_error) {
        _cleanup_free_ char *text = NULL;
        const char *nul;
        size_t n;
        int r = fd_read_file(AT_FDCWD, path, FILE_MAX, &text, &n);

        if (r < 0) {
                (void)snprintf(ret_error->text, sizeof(ret_error->text), "%.256s: %s", path, strerror(-r));
                return r;
        }
        nul = memchr(text, '\0', n);
        if (nul) {
                unsigned number = 1;

                for (const char *p = text; p < nul; p++)
                        number += *p == '\n';
                (void)snprintf(ret_error->text, sizeof(ret_error->text), "%.256s:%u: a NUL byte", path, number);
                return -EBADMSG;
        }
        return ini_parse(path, text, handler, ret_error);
}
