/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"

static bool fits(size_t n_lines) {
        struct winsize ws;

        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0 || ws.ws_row == 0 || n_lines < ws.ws_row;
}

_Noreturn static void run_pager(int input) {
        const char *command = getenv("PAGER");

        (void)dup2(input, STDIN_FILENO);
        (void)signal(SIGPIPE, SIG_DFL);
        (void)signal(SIGINT, SIG_DFL);
        (void)setenv("LESS", "FRSXMK", 0);
        (void)setenv("LESSCHARSET", "utf-8", 0);
        /* Root's pager shall not be a shell for who stands behind. */
        if (geteuid() == 0 || getuid() != geteuid())
                (void)setenv("LESSSECURE", "1", 1);

        if (command && *command)
                (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        (void)execlp("less", "less", (char *)NULL);
        (void)execlp("more", "more", (char *)NULL);
        (void)execlp("cat", "cat", (char *)NULL);
        _exit(EXIT_FAILURE);
}

void pager_open(Pager *p, bool wanted, size_t n_lines) {
        _cleanup_fd_ int read_end = -1, write_end = -1;
        int fds[2];

        *p = (Pager){};
        if (!wanted || !isatty(STDOUT_FILENO) || fits(n_lines) || pipe2(fds, O_CLOEXEC) < 0)
                return;
        read_end = fds[0];
        write_end = fds[1];

        (void)fflush(stdout);
        p->pid = fork();
        if (p->pid < 0) {
                p->pid = 0;
                return;
        }
        if (p->pid == 0)
                run_pager(read_end);
        (void)dup2(write_end, STDOUT_FILENO);
        (void)signal(SIGINT, SIG_IGN); /* it is the pager's */
}

void pager_close(Pager *p) {
        if (p->pid == 0)
                return;
        (void)fflush(stdout);
        /* The end of file makes the pager end; later writes have nowhere to go. */
        if (!freopen("/dev/null", "w", stdout))
                (void)close(STDOUT_FILENO);
        while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        *p = (Pager){};
}
