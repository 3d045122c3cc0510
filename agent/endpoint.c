/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/endpoint.h"

#define ENDPOINT_BACKLOG 64
/* Inside bind() the file exists before the kernel finds its socket: a young file is asked twice. */
#define STALE_AGE_SEC 2
#define STALE_PAUSE_NSEC 20000000L

static int make_address(const char *path, struct sockaddr_un *ret) {
        size_t n = strlen(path);

        if (n == 0 || n >= sizeof(ret->sun_path))
                return n == 0 ? -EINVAL : -ENAMETOOLONG;
        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        memcpy(ret->sun_path, path, n);
        return 0;
}

static int make_absolute(const char *path, char **ret) {
        char folder[PATH_MAX], *absolute;

        if (path[0] == '/')
                absolute = strdup(path);
        else if (getcwd(folder, sizeof(folder)) == NULL)
                return -errno;
        else if (asprintf(&absolute, "%s/%s", folder, path) < 0)
                absolute = NULL;
        if (absolute == NULL)
                return -ENOMEM;
        *ret = absolute;
        return 0;
}

/* A datagram connect tells a listener from a dead file without disturbing the listener. */
static bool is_dead(const struct sockaddr_un *address) {
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        bool dead;

        if (fd < 0)
                return false;
        dead = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 && errno == ECONNREFUSED;
        close(fd);
        return dead;
}

/* As is_dead(), for a file of our own user. One for root alone (accept="root") lets nobody ask: it gets
 * a mode while we do. Who lives behind it looks at credentials, not at the mode. */
static bool is_our_dead(const struct sockaddr_un *address, mode_t mode) {
        bool dead, opened;

        opened = (mode & S_IWUSR) == 0 && chmod(address->sun_path, 0600) == 0;
        dead = is_dead(address);
        if (opened && !dead)
                (void)chmod(address->sun_path, mode & 0777);
        return dead;
}

static bool remove_stale(const struct sockaddr_un *address) {
        struct stat st, again;
        struct timespec now;

        if (lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode) || st.st_uid != geteuid() ||
            !is_our_dead(address, st.st_mode))
                return false;
        clock_gettime(CLOCK_REALTIME, &now);
        if (now.tv_sec - st.st_ctim.tv_sec <= STALE_AGE_SEC) {
                nanosleep(&(struct timespec){ .tv_nsec = STALE_PAUSE_NSEC }, NULL);
                if (!is_dead(address))
                        return false;
        }
        return lstat(address->sun_path, &again) == 0 && again.st_ino == st.st_ino &&
               again.st_dev == st.st_dev && unlink(address->sun_path) == 0;
}

int endpoint_open(Endpoint *e, const char *path, bool root_only) {
        struct sockaddr_un address;
        struct stat st = {};
        char *absolute = NULL;
        int fd, r;

        r = make_address(path, &address);
        if (r < 0)
                return r;
        r = make_absolute(path, &absolute);
        if (r < 0)
                return r;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
                r = -errno;
                goto fail;
        }
        /* On the socket, before bind(): the file never has another mode, whatever the umask. Our user may
         * be root itself, and root without CAP_DAC_OVERRIDE needs the mode. */
        if (fchmod(fd, root_only && geteuid() != 0 ? 0 : 0600) < 0) {
                r = -errno;
                goto fail;
        }
        r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
        if (r == -EADDRINUSE && remove_stale(&address))
                r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
        if (r < 0)
                goto fail;
        if (lstat(absolute, &st) < 0 || listen(fd, ENDPOINT_BACKLOG) < 0) {
                r = -errno;
                unlink(absolute);
                goto fail;
        }

        *e = (Endpoint){ .fd = fd, .pid = getpid(), .path = absolute, .dev = st.st_dev, .ino = st.st_ino };
        return 0;

fail:
        if (fd >= 0)
                close(fd);
        free(absolute);
        return r;
}

void endpoint_close(Endpoint *e) {
        struct stat st;

        if (e->fd < 0)
                return;
        if (e->pid == getpid() && lstat(e->path, &st) == 0 && st.st_dev == e->dev && st.st_ino == e->ino)
                unlink(e->path);
        endpoint_abandon(e);
}

void endpoint_abandon(Endpoint *e) {
        if (e->fd >= 0)
                close(e->fd);
        free(e->path);
        *e = ENDPOINT_INIT;
}
