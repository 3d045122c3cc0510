/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * manholed-priv: the privileged half of manholed. It keeps three capabilities, takes fixed-size
 * requests from manholed alone, checks each for itself (daemon/priv-ops.c), and answers with
 * descriptors. It parses nothing, has one thread, and knows no session, policy or name.
 */

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/priv-channel.h"
#include "daemon/priv-ops.h"
#include "daemon/priv-place.h"
#include "daemon/priv-start.h"
#include "lib/cleanup.h"

#define KEEP (1U << CAP_DAC_OVERRIDE | 1U << CAP_SYS_PTRACE | 1U << CAP_SETUID)
/* One manholed, and the next one during a restart. */
#define PEERS_MAX 4U

/* Serves one request. 0, or negative errno when the channel is of no more use. */
static int serve(int channel) {
        PrivRequest request;
        PrivResponse response;
        int fds[PRIV_FDS_MAX], fd = -1, r;
        unsigned n_fds = 0;

        r = priv_channel_receive(channel, &request, sizeof(request), fds, PRIV_FDS_MAX, &n_fds);
        if (r < 0 && r != -EMFILE)
                return r;
        response = (PrivResponse){ .id = request.id };
        response.error = r < 0 ? r : priv_execute(&request, fds, n_fds, &fd);
        for (unsigned i = 0; i < n_fds; i++)
                (void)fd_close(fds[i]);
        r = priv_channel_send(channel, &response, sizeof(response), &fd, fd >= 0);
        (void)fd_close(fd);
        return r;
}

static bool peer_is_manholed(int fd) {
        _cleanup_free_ char *unit = NULL;
        struct ucred cred;
        socklen_t n = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
                return false;
        if (cred.uid != 0 || sd_peer_get_unit(fd, &unit) < 0 || strcmp(unit, PRIV_PEER_UNIT) != 0) {
                log_warning("Refused a request of uid %u, pid %d: only %s is served.", (unsigned)cred.uid,
                            (int)cred.pid, PRIV_PEER_UNIT);
                return false;
        }
        return true;
}

static int serve_child(void) {
        int r;

        do
                r = serve(PRIV_CHILD_FD);
        while (r == 0);
        return r == -ECONNRESET ? 0 : r;
}

static void accept_peer(int listener, struct pollfd *peers, nfds_t *n_peers) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
                return;
        if (*n_peers == PEERS_MAX || !peer_is_manholed(fd)) {
                (void)fd_close(fd);
                return;
        }
        peers[(*n_peers)++] = (struct pollfd){ .fd = fd, .events = POLLIN };
}

static int serve_listener(int listener) {
        struct pollfd fds[1 + PEERS_MAX] = { { .fd = listener, .events = POLLIN } };
        nfds_t n_peers = 0;

        (void)sd_notify(0, "READY=1");
        for (;;) {
                if (poll(fds, 1 + n_peers, -1) < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                for (nfds_t i = n_peers; i > 0; i--)
                        if (fds[i].revents && serve(fds[i].fd) < 0) {
                                (void)fd_close(fds[i].fd);
                                fds[i] = fds[n_peers--];
                        }
                if (fds[0].revents)
                        accept_peer(listener, fds + 1, &n_peers);
        }
}

static int run(int argc, char **argv) {
        bool channel = argc == 2 && strcmp(argv[1], "--channel") == 0;
        int r, n = channel ? 0 : sd_listen_fds(1);

        if (!channel && n != 1) {
                log_error("manholed-priv is started by manholed or by manholed-priv.socket; see manholed(8).");
                return -EINVAL;
        }
        r = priv_keep_capabilities(KEEP);
        if (r < 0) {
                log_error("Cannot drop capabilities: %s", strerror(-r));
                return r;
        }
        return channel ? serve_child() : serve_listener(SD_LISTEN_FDS_START);
}

int main(int argc, char **argv) {
        int r = run(argc, argv);

        if (r < 0)
                log_error("manholed-priv failed: %s", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
