/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/command.h"

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/peer.h"
#include "daemon/procfs.h"
#include "daemon/thread.h"
#include "lib/cleanup.h"
#include "lib/escape.h"

#define READ_MAX 4096U
/* What a pipe takes at once, so that an answer is whole. */
#define TEXT_MAX 1024U
_Static_assert(TEXT_MAX <= PIPE_BUF, "an answer is one write");
#define STACK_SIZE (64U * 1024U + READ_MAX + TEXT_MAX)

/* The thread's own. */
typedef struct Reading {
        int pidfd, answer; /* owned */
        pid_t pid;
} Reading;

static void reading_free(Reading *r) {
        (void)fd_close(r->pidfd);
        (void)fd_close(r->answer);
        free(r);
}

static void *read_command(void *userdata) {
        char command[READ_MAX], text[TEXT_MAX];
        Reading *r = userdata;

        /* The pid was that process's all the time if it lives at the end. */
        if (proc_read_command(r->pid, command, sizeof(command)) == 0 &&
            poll(&(struct pollfd){ .fd = r->pidfd, .events = POLLIN }, 1, 0) == 0 && *command) {
                size_t n = escape_text(text, sizeof(text), command, strlen(command));
                ssize_t written = write(r->answer, text, n);

                (void)written; /* nobody may wait any more */
        }
        reading_free(r);
        return NULL;
}

static void command_on_answer(evutil_socket_t fd, short what, void *userdata) {
        Command *c = userdata;
        char text[TEXT_MAX];
        ssize_t n = read(fd, text, sizeof(text));

        if (n > 0)
                c->text = strndup(text, (size_t)n);
        command_cancel(c);
        c->done(c, c->userdata);
}

/* A thread that begins to read; *ret_fd is where it answers. */
static bool begin(int fd, pid_t pid, int *ret_fd) {
        Reading *r = calloc(1, sizeof(*r));
        int pair[2];

        if (!r)
                return false;
        *r = (Reading){ .pidfd = peer_pidfd(fd, pid), .answer = -1, .pid = pid };
        if (r->pidfd < 0 || pipe2(pair, O_CLOEXEC) < 0) {
                reading_free(r);
                return false;
        }
        r->answer = pair[1];
        if (thread_start(read_command, r, STACK_SIZE) < 0) {
                (void)fd_close(pair[0]);
                reading_free(r);
                return false;
        }
        *ret_fd = pair[0];
        return true;
}

bool command_ask(Command *c, struct event_base *loop, int fd, pid_t pid,
                 void (*done)(Command *command, void *userdata), void *userdata) {
        assert(!c->answer);

        *c = (Command){ .done = done, .userdata = userdata };
        if (pid <= 0 || !begin(fd, pid, &c->fd))
                return false;
        c->answer = event_new(loop, c->fd, EV_READ, command_on_answer, c);
        if (!c->answer || event_add(c->answer, NULL) < 0) {
                c->fd = fd_close(c->fd);
                command_cancel(c);
                return false;
        }
        return true;
}

void command_cancel(Command *c) {
        if (!c->answer)
                return;
        event_free(c->answer);
        c->answer = NULL;
        c->fd = fd_close(c->fd);
}

void command_done(Command *c) {
        command_cancel(c);
        free(c->text);
        *c = (Command){};
}
