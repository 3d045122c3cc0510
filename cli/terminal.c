/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "cli/deadline.h"

static const int noted[] = { SIGINT, SIGWINCH, SIGTSTP };
static const int fatal[] = { SIGHUP, SIGQUIT, SIGTERM };

static volatile sig_atomic_t pending_interrupt, pending_resize, pending_stop;
static struct termios found;
static bool have_found;
static int input = STDIN_FILENO;
static sigset_t waiting_mask; /* in force while polling */

/* Signal safe. */
static void restore(void) {
        int saved = errno;
        sigset_t ttou, before;

        if (have_found) {
                /* A background process that sets modes would be stopped. */
                (void)sigemptyset(&ttou);
                (void)sigaddset(&ttou, SIGTTOU);
                (void)sigprocmask(SIG_BLOCK, &ttou, &before);
                (void)tcsetattr(STDIN_FILENO, TCSANOW, &found);
                (void)sigprocmask(SIG_SETMASK, &before, NULL);
        }
        errno = saved;
}

/* Signal safe. Ends the program by @signo, after what SA_RESETHAND has made its default action. */
static void on_fatal(int signo) {
        sigset_t set;

        restore();
        (void)raise(signo);
        (void)sigemptyset(&set);
        (void)sigaddset(&set, signo);
        (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* Signal safe. */
static void on_noted(int signo) {
        if (signo == SIGINT)
                pending_interrupt = 1;
        else if (signo == SIGWINCH)
                pending_resize = 1;
        else
                pending_stop = 1;
}

void terminal_init(void) {
        struct sigaction note = { .sa_handler = on_noted };
        struct sigaction die = { .sa_handler = on_fatal, .sa_flags = (int)SA_RESETHAND };
        sigset_t set;

        have_found = tcgetattr(STDIN_FILENO, &found) == 0;
        (void)atexit(restore);
        if (have_found) {
                /* Somebody else's terminal (after su) cannot be opened, but still read. */
                input = open("/proc/self/fd/0", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
                if (input < 0)
                        input = STDIN_FILENO;
        }

        (void)sigemptyset(&set);
        for (size_t i = 0; i < sizeof(noted) / sizeof(noted[0]); i++) {
                (void)sigaction(noted[i], &note, NULL);
                (void)sigaddset(&set, noted[i]);
        }
        (void)sigprocmask(SIG_BLOCK, &set, &waiting_mask);
        for (size_t i = 0; i < sizeof(noted) / sizeof(noted[0]); i++)
                (void)sigdelset(&waiting_mask, noted[i]);

        for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
                struct sigaction before;

                /* nohup(1) and the like mean it. */
                if (sigaction(fatal[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
                        (void)sigaction(fatal[i], &die, NULL);
        }
}

int terminal_input(void) {
        return input;
}

int terminal_poll(struct pollfd *fds, nfds_t n, uint64_t deadline, TerminalEvents *ret) {
        struct timespec ts;
        int r;

        r = ppoll(fds, n, deadline_left(deadline, &ts), &waiting_mask);
        if (r < 0 && errno != EINTR)
                return -errno;
        if (r < 0) {
                for (nfds_t i = 0; i < n; i++)
                        fds[i].revents = 0;
                r = 0;
        }

        *ret = (TerminalEvents){ pending_interrupt, pending_resize, pending_stop };
        pending_interrupt = pending_resize = pending_stop = 0;
        return r;
}

void terminal_stop(void) {
        (void)raise(SIGSTOP);
}

void terminal_die_interrupted(void) {
        sigset_t set;

        restore();
        (void)signal(SIGINT, SIG_DFL);
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGINT);
        (void)raise(SIGINT);
        (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
        abort();
}
