/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/ini.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/fd.h"

#define FILE_MAX (256U * 1024U)
#define INI_PLACE_MAX 272U

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

typedef struct Reading {
        const IniHandler *handler;
        const char *file;
        unsigned line;
        unsigned section; /* the line that the section began in; 0 outside of all */
} Reading;

/* `[Kind]` or `[Kind "name"]`, with nothing around it. */
static const char *parse_section(const Reading *reading, char *line) {
        static const char wrong[] = "not a section: [NAME] or [NAME \"name\"] is wanted";
        const IniHandler *handler = reading->handler;
        size_t n = strlen(line);
        char *name, place[INI_PLACE_MAX];

        (void)snprintf(place, sizeof(place), "%.256s:%u", reading->file, reading->line);
        if (line[n - 1] != ']')
                return wrong;
        line[n - 1] = '\0';
        line++;
        name = strchr(line, ' ');
        if (!name)
                return handler->section(handler->userdata, line, NULL, place);
        *name = '\0';
        name = strip(name + 1);
        n = strlen(name);
        if (n < 3 || name[0] != '"' || name[n - 1] != '"')
                return wrong;
        name[n - 1] = '\0';
        return handler->section(handler->userdata, line, name + 1, place);
}

static const char *end_section(const Reading *reading) {
        return reading->section == 0 ? NULL : reading->handler->end(reading->handler->userdata);
}

/* NULL, or what is wrong; then the number in @reading is that of the line at fault. */
static const char *parse_line(Reading *reading, char *line) {
        const IniHandler *handler = reading->handler;
        const char *wrong;
        char *value;

        line = strip(line);
        if (!*line || *line == '#' || *line == ';')
                return NULL;
        if (*line == '[') {
                wrong = end_section(reading);
                if (wrong) {
                        reading->line = reading->section;
                        return wrong;
                }
                reading->section = reading->line;
                return parse_section(reading, line);
        }
        value = strchr(line, '=');
        if (!value)
                return "neither a section nor an assignment";
        if (reading->section == 0)
                return "assignment outside a section";
        *value = '\0';
        return handler->assignment(handler->userdata, strip(line), strip(value + 1));
}

int ini_parse(const char *file, const char *text, const IniHandler *handler, IniError *ret_error) {
        _cleanup_free_ char *copy = strdup(text);
        Reading reading = { .handler = handler, .file = file };
        const char *wrong = NULL;
        char *rest = copy, *line;

        if (!copy)
                return -ENOMEM;
        while (!wrong && (line = strsep(&rest, "\n"))) {
                reading.line++;
                wrong = parse_line(&reading, line);
        }
        if (!wrong) {
                reading.line = reading.section;
                wrong = end_section(&reading);
        }
        if (!wrong)
                return 0;
        (void)snprintf(ret_error->text, sizeof(ret_error->text), "%.256s:%u: %s", file, reading.line, wrong);
        return -EBADMSG;
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
