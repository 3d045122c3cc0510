/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * manhole-cli: a plain connection to a manhole, as the program of that name in the pure-Python
 * package: `socat - UNIX-CONNECT:/tmp/manhole-PID`, with a signal before and a time-out behind.
 * Knows neither manholed nor frames, and links no line editor.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/deadline.h"
#include "cli/exit-status.h"
#include "cli/message.h"
#include "cli/output.h"
#include "lib/cleanup.h"
#include "lib/fd.h"
#include "lib/parse.h"

#define SOCKET_PREFIX "/tmp/manhole-"
#define READ_SIZE 65536
/* A socket's name appears when it is bound and answers when it listens; no event tells of that. */
#define RETRY_USEC (10 * USEC_PER_MSEC)

static double arg_timeout = 1; /* seconds */
static int arg_signal;         /* 0: none */
static pid_t arg_pid;          /* 0 when only a path is known */
static char arg_path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];

static void help(void) {
        (void)fputs("usage: manhole-cli [-h] [-t TIMEOUT] [-1 | -2 | -s SIGNAL] PID\n"
                    "\n"
                    "Connect to a manhole.\n"
                    "\n"
                    "positional arguments:\n"
                    "  PID                   A numerical process id, or a path in the form:\n"
                    "                        /tmp/manhole-1234\n"
                    "\n"
                    "optional arguments:\n"
                    "  -h, --help            show this help message and exit\n"
                    "  -t TIMEOUT, --timeout TIMEOUT\n"
                    "                        Timeout to use. Default: 1 seconds.\n"
                    "  -1, -USR1             Send USR1 (10) to the process before connecting.\n"
                    "  -2, -USR2             Send USR2 (12) to the process before connecting.\n"
                    "  -s SIGNAL, --signal SIGNAL\n"
                    "                        Send the given SIGNAL to the process before\n"
                    "                        connecting.\n",
                    stdout);
}

/* "10", "USR1", "SIGUSR1", whatever the case. */
static int parse_signal(const char *text, int *ret) {
        uint64_t number;

        if (parse_u64(text, SIGRTMAX, &number) == 0 && number > 0) {
                *ret = (int)number;
                return 0;
        }
        if (strncasecmp(text, "SIG", 3) == 0)
                text += 3;
        for (int signo = 1; signo < NSIG; signo++) {
                const char *name = sigabbrev_np(signo);

                if (name && strcasecmp(name, text) == 0) {
                        *ret = signo;
                        return 0;
                }
        }
        return -EINVAL;
}

static int parse_target(const char *text) {
        struct stat st;

        if (parse_pid(text, &arg_pid) == 0) {
                (void)snprintf(arg_path, sizeof(arg_path), SOCKET_PREFIX "%d", (int)arg_pid);
                return 0;
        }
        if (strlen(text) >= sizeof(arg_path))
                return -ENAMETOOLONG;
        strcpy(arg_path, text);
        if (strncmp(text, SOCKET_PREFIX, strlen(SOCKET_PREFIX)) == 0 &&
            parse_pid(text + strlen(SOCKET_PREFIX), &arg_pid) == 0)
                return 0;
        /* An application may have chosen another path. */
        return stat(text, &st) == 0 && S_ISSOCK(st.st_mode) ? 0 : -EINVAL;
}

static int bad_usage(const char *what, const char *text) {
        message_error("%s%s%s", what, text ? ": " : "", text ? text : "");
        return EXIT_USAGE;
}

static int set_signal(const char *text) {
        if (arg_signal != 0)
                return bad_usage("only one of -1, -2 and -s can be given", NULL);
        if (parse_signal(text, &arg_signal) < 0)
                return bad_usage("not a signal", text);
        return EXIT_DONE;
}

static int parse_arguments(int argc, char **argv, bool *ret_help) {
        static const struct option long_options[] = {
                { "help", no_argument, NULL, 'h' },         { "timeout", required_argument, NULL, 't' },
                { "signal", required_argument, NULL, 's' }, { "USR1", no_argument, NULL, '1' },
                { "USR2", no_argument, NULL, '2' },         {},
        };
        char *end;
        int c, r = EXIT_DONE;

        opterr = 0;
        while (r == EXIT_DONE && (c = getopt_long_only(argc, argv, ":ht:s:12", long_options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        *ret_help = true;
                        return EXIT_DONE;
                case 't':
                        arg_timeout = strtod(optarg, &end);
                        if (end == optarg || *end || !(arg_timeout >= 0) || arg_timeout > 1e9)
                                r = bad_usage("not a number of seconds", optarg);
                        break;
                case '1':
                case '2':
                        r = set_signal(c == '1' ? "USR1" : "USR2");
                        break;
                case 's':
                        r = set_signal(optarg);
                        break;
                case ':':
                        r = bad_usage("an argument is missing behind", argv[optind - 1]);
                        break;
                default:
                        r = bad_usage("unknown option", argv[optind - 1]);
                }
        if (r != EXIT_DONE)
                return r;
        if (argc - optind != 1)
                return bad_usage("exactly one PID is needed", NULL);
        if (parse_target(argv[optind]) < 0)
                return bad_usage("neither a process id nor a path in the form /tmp/manhole-1234",
                                 argv[optind]);
        if (arg_signal != 0 && arg_pid == 0)
                return bad_usage("a signal needs a process id", NULL);
        return EXIT_DONE;
}

static uint64_t patience(void) {
        return deadline_in((uint64_t)(arg_timeout * (double)USEC_PER_SEC));
}

/* One attempt; connect() itself waits while the listener's queue is full. */
static int try_connect(uint64_t deadline, int *ret_fd) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        uint64_t now = deadline_now(), left = deadline > now ? deadline - now : 1;
        struct timeval tv = { .tv_sec = (time_t)(left / USEC_PER_SEC),
                              .tv_usec = (suseconds_t)(left % USEC_PER_SEC) };
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) < 0)
                return -errno;
        strcpy(sa.sun_path, arg_path);
        if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return fd_set_nonblock(*ret_fd, true);
}

static int open_manhole(int *ret_fd) {
        uint64_t deadline = patience();
        int r;

        if (arg_pid != 0 && kill(arg_pid, arg_signal) < 0 && (errno != EPERM || arg_signal != 0)) {
                message_error("process %d: %s", (int)arg_pid, strerror(errno));
                return EXIT_FAILED;
        }
        for (;;) {
                r = try_connect(deadline, ret_fd);
                if (r == 0)
                        return EXIT_DONE;
                if (r != -ENOENT && r != -ECONNREFUSED && r != -EAGAIN) {
                        message_error("cannot connect to %s: %s", arg_path, strerror(-r));
                        return EXIT_FAILED;
                }
                if (deadline_now() >= deadline)
                        break;
                (void)poll(NULL, 0, (int)(RETRY_USEC / USEC_PER_MSEC));
        }
        message_error("timed out: %s %s", arg_path,
                      r == -ENOENT         ? "does not exist"
                      : r == -ECONNREFUSED ? "has no listener"
                                           : "is busy with other clients");
        return EXIT_TIMED_OUT;
}

/* Standard input on its way: more is read when the last of it is sent, so that neither side can
 * wait for the other with full buffers. */
typedef struct Input {
        char bytes[READ_SIZE];
        size_t at, n;
        bool ended;
} Input;

static int input_send(Input *in, int fd) {
        while (in->at < in->n) {
                ssize_t k = send(fd, in->bytes + in->at, in->n - in->at, MSG_NOSIGNAL);

                if (k < 0 && errno != EINTR)
                        return errno == EAGAIN ? 0 : -errno;
                in->at += k > 0 ? (size_t)k : 0;
        }
        return 0;
}

static void input_read(Input *in, int fd) {
        ssize_t k = read(STDIN_FILENO, in->bytes, sizeof(in->bytes));

        if (k < 0 && errno == EINTR)
                return;
        in->at = 0;
        in->n = k > 0 ? (size_t)k : 0;
        if (k <= 0) {
                in->ended = true;
                (void)shutdown(fd, SHUT_WR);
        }
}

static int relay(int fd) {
        static Input in;
        uint64_t deadline = DEADLINE_NEVER;
        char bytes[READ_SIZE];
        Printer printer;

        printer_init(&printer, stdout);
        for (;;) {
                bool sending = in.at < in.n;
                struct pollfd fds[] = {
                        { .fd = fd, .events = (short)(POLLIN | (sending ? POLLOUT : 0)) },
                        { .fd = sending || in.ended ? -1 : STDIN_FILENO, .events = POLLIN },
                };
                struct timespec ts;
                ssize_t k;
                int r;

                r = ppoll(fds, 2, deadline_left(deadline, &ts), NULL);
                if (r < 0 && errno == EINTR)
                        continue;
                if (r == 0) {
                        message_error("timed out: no output for %g s, and no end", arg_timeout);
                        return EXIT_TIMED_OUT;
                }
                if (fds[1].revents)
                        input_read(&in, fd);
                if (input_send(&in, fd) < 0)
                        in.at = in.n; /* nobody reads it; what was said before may still come */
                if (in.ended && deadline == DEADLINE_NEVER)
                        deadline = patience();
                if (!(fds[0].revents & (POLLIN | POLLHUP | POLLERR)))
                        continue;

                k = recv(fd, bytes, sizeof(bytes), 0);
                if (k == 0 || (k < 0 && errno != EAGAIN && errno != EINTR))
                        return printer_finish(&printer) < 0 ? EXIT_FAILED : EXIT_DONE;
                if (k > 0 && printer_write(&printer, bytes, (size_t)k) < 0)
                        return EXIT_FAILED;
                if (in.ended)
                        deadline = patience();
        }
}

static int run(int argc, char **argv) {
        _cleanup_fd_ int fd = -1;
        bool wants_help = false;
        int r;

        r = parse_arguments(argc, argv, &wants_help);
        if (r != EXIT_DONE)
                return r;
        if (wants_help) {
                help();
                return EXIT_DONE;
        }
        r = open_manhole(&fd);
        return r == EXIT_DONE ? relay(fd) : r;
}

int main(int argc, char **argv) {
        output_init();
        return output_finish(run(argc, argv));
}
