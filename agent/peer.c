/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/peer.h"
#include "lib/console.h"

/* The kernel shows a user that this user namespace does not map as this one. */
#define OVERFLOW_UID 65534U

int peer_read(int fd, Peer *ret) {
        struct ucred credentials;
        socklen_t n = sizeof(credentials);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &n) < 0)
                return -errno;
        *ret = (Peer){ .pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid };
        return 0;
}

/* Whether OVERFLOW_UID is a user of its own here, and not everybody who is not mapped. */
static bool overflow_is_mapped(void) {
        uintmax_t inside, outside, count;
        bool mapped = false;
        FILE *file;

        file = fopen("/proc/self/uid_map", "re");
        if (file == NULL)
                return false;
        while (!mapped && fscanf(file, "%ju %ju %ju", &inside, &outside, &count) == 3)
                mapped = inside <= OVERFLOW_UID && OVERFLOW_UID - inside < count;
        fclose(file);
        return mapped;
}

static atomic_bool overflow_mapped;

void peer_prepare(void) {
        atomic_store(&overflow_mapped, overflow_is_mapped());
}

bool peer_allowed(const Peer *p, bool root_only) {
        if (p->uid == 0)
                return true;
        return !root_only && p->uid == geteuid() && (p->uid != OVERFLOW_UID || atomic_load(&overflow_mapped));
}

static bool begins(const char *text, const char *prefix) {
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

unsigned long peer_version(int fd, bool *ret_brokered) {
        static const size_t n_prefix = sizeof(CONSOLE_NAME_PREFIX) - 1;
        struct sockaddr_un address = {};
        socklen_t n_address = sizeof(address);
        char name[sizeof(address.sun_path)];
        unsigned long version;
        size_t n;
        char *end;

        *ret_brokered = false;
        if (getpeername(fd, (struct sockaddr *)&address, &n_address) < 0 ||
            n_address <= offsetof(struct sockaddr_un, sun_path) + 1 || n_address > sizeof(address) ||
            address.sun_path[0] != '\0')
                return 0;
        n = n_address - offsetof(struct sockaddr_un, sun_path) - 1;
        memcpy(name, address.sun_path + 1, n);
        name[n] = '\0';

        *ret_brokered = begins(name, CONSOLE_BROKER_PREFIX);
        if (strncmp(name, CONSOLE_NAME_PREFIX, n_prefix) != 0 || name[n_prefix] < '1' ||
            name[n_prefix] > '9')
                return 0;
        version = strtoul(name + n_prefix, &end, 10);
        if (*end != '/')
                return 0;
        *ret_brokered = begins(end + 1, CONSOLE_BROKER_MARK);
        return version;
}
