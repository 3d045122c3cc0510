/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/clock.h"
#include "agent/input.h"
#include "agent/output.h"
#include "agent/turn.h"
#include "agent/wake.h"
#include "lib/console.h"

/* Lines are short; what is longer comes in several reads. */
#define READ_SIZE 4096U

bool input_begin_io(Session *s) {
        bool begins;

        pthread_mutex_lock(&s->lock);
        begins = !s->lost && !s->ending && s->reader == SESSION_READER_NONE;
        if (begins)
                s->reader = SESSION_READER_IO;
        pthread_mutex_unlock(&s->lock);
        return begins;
}

void input_end_io(Session *s) {
        pthread_mutex_lock(&s->lock);
        s->reader = SESSION_READER_NONE;
        session_notify(s);
        pthread_mutex_unlock(&s->lock);
}

int input_receive(Session *s, const uint8_t *bytes, size_t n, bool *ret_errand) {
        const uint8_t *etx = memrchr(bytes, CONSOLE_ETX, n);
        int r;

        *ret_errand = false;
        if (etx != NULL) {
                *ret_errand = turn_interrupt(s);
                n -= (size_t)(etx + 1 - bytes);
                bytes = etx + 1;
        }
        pthread_mutex_lock(&s->lock);
        r = inbox_put(&s->inbox, bytes, n);
        session_notify(s);
        pthread_mutex_unlock(&s->lock);
        return r;
}

/* Under the lock. */
static bool may_read(const Session *s) {
        return !s->framed && s->waker_fd >= 0 && s->epoll_fd >= 0 && s->fd >= 0 && !s->saw_end &&
               !s->ending && s->reader != SESSION_READER_IO && inbox_has_room(&s->inbox, READ_SIZE);
}

static void become_reader(Session *s) {
        if (s->reader != SESSION_READER_NONE)
                return;
        s->reader = SESSION_READER_CONSOLE;
        session_watch(s);
}

static void leave_reading(Session *s) {
        if (s->reader != SESSION_READER_CONSOLE)
                return;
        s->reader = SESSION_READER_NONE;
        session_watch(s);
        session_notify(s);
}

/* Waits for bytes or for a change, and takes what there is. False where the I/O thread must look. Under the
 * lock, which it lets go of meanwhile. */
static bool read_some(Session *s, int msec) {
        uint8_t buffer[READ_SIZE];
        bool errand;
        ssize_t n;
        int r;

        become_reader(s);
        if (session_poll(s, POLLIN, msec) == 0)
                return true;

        pthread_mutex_unlock(&s->lock);
        n = recv(s->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
        if (n > 0) {
                r = input_receive(s, buffer, (size_t)n, &errand);
                if (errand)
                        turn_errand_failed(s); /* needs none: it is this thread's to take */
                if (r < 0) {
                        pthread_mutex_lock(&s->lock);
                        s->lost = true;
                        wake_ring();
                        return false;
                }
        }
        pthread_mutex_lock(&s->lock);
        return n > 0;
}

int input_wait_line(Session *s, int msec, char **ret, size_t *ret_n) {
        int64_t until = clock_now_ns() + msec * INT64_C(1000000);
        bool reads = true;
        int r;

        /* Before the prompt goes: the answer to it wakes this thread alone. */
        pthread_mutex_lock(&s->lock);
        if (may_read(s))
                become_reader(s);
        pthread_mutex_unlock(&s->lock);
        output_flush(s);

        pthread_mutex_lock(&s->lock);
        for (;;) {
                r = SESSION_E_INTERRUPTED;
                if (s->interrupted)
                        break;
                r = SESSION_E_END;
                if (s->lost)
                        break;
                r = inbox_take_line(&s->inbox, ret, ret_n);
                if (r == INBOX_E_END)
                        r = SESSION_E_END;
                if (r != INBOX_E_EMPTY)
                        break;
                r = SESSION_E_AGAIN;
                if (msec >= 0 && clock_now_ns() >= until)
                        break;
                if (reads && may_read(s))
                        reads = read_some(s, msec);
                else {
                        leave_reading(s);
                        if (msec >= 0)
                                session_wait_until(s, until);
                        else
                                pthread_cond_wait(&s->changed, &s->lock);
                }
        }
        leave_reading(s);
        pthread_mutex_unlock(&s->lock);
        return r;
}
