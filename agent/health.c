/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/health.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "agent/figures.h"

/* A file of /proc/self, terminated. False, and empty, without it. */
static bool read_file(const char *path, char *ret, size_t n_ret) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, ret, n_ret - 1);

        if (fd >= 0)
                close(fd);
        ret[n > 0 ? n : 0] = '\0';
        return n > 0;
}

/* The number behind a name in /proc/self/status, or -1. */
static long long number_behind(const char *text, const char *name) {
        const char *at = strstr(text, name);

        return at != NULL ? strtoll(at + strlen(name), NULL, 10) : -1;
}

/* Seconds since the process began, or -1. */
static double uptime(void) {
        char text[1024];
        const char *at;
        struct timespec now;

        if (!read_file("/proc/self/stat", text, sizeof(text)))
                return -1;
        at = strrchr(text, ')'); /* ends the name; the state follows, which is field 3 */
        for (int field = 2; at != NULL && field < 22; field++)
                at = strchr(at + 1, ' ');
        if (at == NULL || clock_gettime(CLOCK_BOOTTIME, &now) < 0)
                return -1;
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9 -
               (double)strtoull(at, NULL, 10) / (double)sysconf(_SC_CLK_TCK);
}

static long count_descriptors(void) {
        DIR *folder = opendir("/proc/self/fd");
        long n = -1; /* the folder's own */

        if (folder == NULL)
                return -1;
        for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
                n += entry->d_name[0] != '.';
        closedir(folder);
        return n;
}

/* A negative one is not known. */
static void add_number(JsonBuffer *b, const char *name, long long value) {
        jsonbuf_raw(b, name);
        if (value >= 0)
                jsonbuf_integer(b, value);
        else
                jsonbuf_raw(b, "null");
}

void health_write_process(JsonBuffer *b, bool gil) {
        char status[8192], text[64];
        struct rlimit limit;
        long long kilobytes;
        double seconds = uptime();

        (void)read_file("/proc/self/status", status, sizeof(status));
        kilobytes = number_behind(status, "\nVmRSS:");

        jsonbuf_raw(b, gil ? "{\"gil\":true" : "{\"gil\":false");
        jsonbuf_raw(b, ",\"version\":\"" PACKAGE_VERSION "\"");
        add_number(b, ",\"pid\":", getpid());
        snprintf(text, sizeof(text), ",\"uptime\":%.2f", seconds);
        jsonbuf_raw(b, seconds >= 0 ? text : ",\"uptime\":null");
        add_number(b, ",\"threads\":", number_behind(status, "\nThreads:"));
        add_number(b, ",\"rss\":", kilobytes < 0 ? -1 : kilobytes * 1024);
        add_number(b, ",\"descriptors\":", count_descriptors());
        add_number(b, ",\"descriptors_max\":",
                   getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY
                           ? (long long)limit.rlim_cur
                           : -1);
        add_number(b, ",\"connections\":", figures_get(FIGURE_CONNECTIONS));
        add_number(b, ",\"consoles\":", figures_get(FIGURE_CONSOLES));
        add_number(b, ",\"dropped\":", figures_get(FIGURE_DROPPED));
}

void health_without_gil(JsonBuffer *ret) {
        health_write_process(ret, false);
        jsonbuf_raw(ret, ",\"python\":null}");
}
