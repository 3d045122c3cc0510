/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Many small processes, each with a socket of a manhole's name in one folder, that do nothing: what a
 * broker of a large machine has to follow.
 *
 *   manholes FOLDER N   says "ready" when all listen; the processes end with its input
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int serve(void) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        (void)snprintf(sa.sun_path, sizeof(sa.sun_path), "manhole-%d", (int)getpid());
        return fd >= 0 && bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(fd, 8) == 0 ? 0 : -1;
}

static void child(int ready) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (serve() < 0 || write(ready, "", 1) != 1)
                _exit(1);
        for (;;)
                pause();
}

int main(int argc, char **argv) {
        int n = argc > 2 ? atoi(argv[2]) : 0, ready[2];
        char byte;

        if (n <= 0 || chdir(argv[1]) < 0 || pipe(ready) < 0) {
                perror("manholes");
                return 1;
        }
        for (int i = 0; i < n; i++) {
                pid_t pid = fork();

                if (pid == 0)
                        child(ready[1]);
                if (pid < 0 || read(ready[0], &byte, 1) != 1) {
                        perror("manholes");
                        return 1;
                }
        }
        (void)puts("ready");
        (void)fflush(stdout);
        while (read(STDIN_FILENO, &byte, 1) > 0)
                ;
        return 0;
}
