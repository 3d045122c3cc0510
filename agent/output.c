/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "agent/clock.h"
#include "agent/output.h"
#include "agent/wake.h"
#include "lib/console.h"
#include "lib/frame.h"

/* Bytes in one send of what is queued: the kernel accounts for what a client has read by whole pieces, and
 * progress has to be seen with a slow one too. */
#define SEND_SIZE (32U * 1024U)
#define SEND_VECTORS 64
/* So much is not kept for the sake of what may come. */
#define GATHER_MAX (8U * 1024U)
/* A piece of output_write(). Copies of other threads' output and answers go between two. */
#define PIECE_SIZE (256U * 1024U)
/* How often a waiting thread looks whether the client takes anything. */
#define STALL_STEP_MSEC 500

/* Under the lock. */
static void end_sending(Session *s, size_t n) {
        s->sending = false;
        s->n_sent += n;
        if (s->lost)
                queue_clear(&s->queue);
        session_notify(s);
}

int output_send(Session *s) {
        struct iovec vectors[SEND_VECTORS];
        struct msghdr message = { .msg_iov = vectors };
        int r = 1, fd = -1;
        ssize_t n;

        pthread_mutex_lock(&s->lock);
        if (!s->sending && !s->blocked && !s->lost && s->fd >= 0) {
                queue_report_dropped(&s->queue, s->run_id);
                message.msg_iovlen = queue_peek(&s->queue, vectors, SEND_VECTORS, SEND_SIZE);
                if (message.msg_iovlen > 0)
                        fd = s->fd;
                s->sending = fd >= 0;
        }
        pthread_mutex_unlock(&s->lock);
        if (fd < 0)
                return 0;

        n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
                r = errno == EINTR ? 1 : errno == EAGAIN ? 0 : -errno;

        pthread_mutex_lock(&s->lock);
        if (n > 0)
                queue_pop(&s->queue, (size_t)n);
        if (r == 0) {
                s->blocked = true;
                session_watch(s);
        }
        end_sending(s, n > 0 ? (size_t)n : 0);
        pthread_mutex_unlock(&s->lock);
        return r;
}

void output_flush(Session *s) {
        int r;

        do
                r = output_send(s);
        while (r > 0);
        if (r < 0)
                wake_ring(); /* it sees the same, and ends the session */
}

int output_offer(Session *s, uint32_t type, const void *data, size_t n) {
        size_t n_queued;
        int r = session_offer(s, type, data, n, &n_queued);

        if (r != 0)
                return r;
        if (n_queued > GATHER_MAX)
                output_flush(s);
        else
                wake_ring_soon();
        return 0;
}

int output_offer_end(Session *s, const void *data, size_t n) {
        int r = session_offer_end(s, data, n);
        bool rings;

        output_flush(s);
        pthread_mutex_lock(&s->lock);
        rings = s->ending || s->lost;
        pthread_mutex_unlock(&s->lock);
        if (rings)
                wake_ring();
        return r;
}

bool output_writes(const Session *s) {
        return s->waker_fd >= 0;
}

/* What is being written without a place in the queue. */
typedef struct Piece {
        uint8_t header[FRAME_HEADER_SIZE];
        const char *data;
        size_t n_header, n_data; /* still to go */
        bool begun;
} Piece;

/* Bytes sent, or negative errno. */
static ssize_t piece_send(Piece *p, int fd) {
        struct iovec vectors[] = {
                { .iov_base = p->header + FRAME_HEADER_SIZE - p->n_header, .iov_len = p->n_header },
                { .iov_base = (void *)p->data, .iov_len = p->n_data },
        };
        struct msghdr message = { .msg_iov = vectors, .msg_iovlen = 2 };
        ssize_t n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        size_t of_header;

        if (n < 0)
                return -errno;
        of_header = (size_t)n < p->n_header ? (size_t)n : p->n_header;
        p->n_header -= of_header;
        p->data += (size_t)n - of_header;
        p->n_data -= (size_t)n - of_header;
        p->begun = true;
        return n;
}

/* Waits until the socket takes more. Under the lock, which it lets go of meanwhile. */
static int wait_writable(Session *s, SessionStall *stall) {
        while (!s->lost && !s->interrupted) {
                if (session_poll(s, POLLOUT, STALL_STEP_MSEC) != 0)
                        return s->lost ? SESSION_E_LOST : 0;
                if (session_stalled(s, stall)) {
                        s->lost = true; /* the I/O thread closes */
                        wake_ring();
                }
        }
        return s->lost ? SESSION_E_LOST : SESSION_E_INTERRUPTED;
}

/* Of a UTF-8 character, and not its first byte. */
static bool is_continuation(char byte) {
        return ((unsigned char)byte & 0xC0) == 0x80;
}

/* What was begun is to be whole: a frame, or in plain a character. */
static void leave_rest(Session *s, const Piece *p) {
        size_t n = p->n_data;

        if (!p->begun)
                return;
        if (!s->framed)
                for (n = 0; n < p->n_data && is_continuation(p->data[n]); n++)
                        ;
        if (queue_put_first(&s->queue, p->data, n) < 0 ||
            queue_put_first(&s->queue, p->header + FRAME_HEADER_SIZE - p->n_header, p->n_header) < 0)
                s->lost = true;
}

/* The turn to send is the caller's when all before it is sent. Under the lock, which it lets go of
 * meanwhile. 0, or as output_write(). */
static int take_turn(Session *s, SessionStall *stall) {
        for (;;) {
                if (s->lost)
                        return SESSION_E_LOST;
                if (s->interrupted)
                        return SESSION_E_INTERRUPTED;
                if (s->sending)
                        pthread_cond_wait(&s->changed, &s->lock);
                else if (queue_empty(&s->queue))
                        break;
                else if (s->blocked) {
                        s->sending = true;
                        if (wait_writable(s, stall) == 0)
                                s->blocked = false;
                        end_sending(s, 0);
                } else {
                        pthread_mutex_unlock(&s->lock);
                        output_flush(s);
                        pthread_mutex_lock(&s->lock);
                }
        }
        s->sending = true;
        return 0;
}

static int write_piece(Session *s, Piece *p, SessionStall *stall) {
        int r;

        pthread_mutex_lock(&s->lock);
        r = take_turn(s, stall);
        if (r != 0) {
                pthread_mutex_unlock(&s->lock);
                return r;
        }
        for (;;) {
                ssize_t n;

                pthread_mutex_unlock(&s->lock);
                n = piece_send(p, s->fd);
                pthread_mutex_lock(&s->lock);
                if (n >= 0)
                        s->n_sent += (uint64_t)n;
                else if (n != -EAGAIN && n != -EINTR) {
                        s->lost = true; /* the I/O thread closes */
                        wake_ring();
                }
                r = s->lost ? SESSION_E_LOST : 0;
                if (r == 0 && p->n_header + p->n_data > 0)
                        r = wait_writable(s, stall);
                if (r != 0 || p->n_header + p->n_data == 0)
                        break;
        }
        leave_rest(s, p);
        end_sending(s, 0);
        pthread_mutex_unlock(&s->lock);
        return r;
}

size_t output_cut(const char *data, size_t n, size_t most) {
        size_t length = most;

        if (n <= length)
                return n;
        while (length > most - 4 && is_continuation(data[length]))
                length--;
        return length;
}

int output_write(Session *s, uint32_t type, const char *data, size_t n) {
        SessionStall stall = {};
        int r = 0;

        while (r == 0 && n > 0) {
                Piece p = { .data = data, .n_data = output_cut(data, n, PIECE_SIZE) };

                data += p.n_data;
                n -= p.n_data;
                if (s->framed) {
                        p.n_header = FRAME_HEADER_SIZE;
                        frame_header_encode(&(FrameHeader){ .length = (uint32_t)p.n_data,
                                                            .type = type,
                                                            .id = s->run_id },
                                            p.header);
                }
                r = write_piece(s, &p, &stall);
        }
        output_flush(s); /* who had something to send meanwhile could not */
        return r;
}

void output_wait_room(Session *s, size_t n, bool interruptible) {
        SessionStall stall = {};

        pthread_mutex_lock(&s->lock);
        while (!s->lost && !(interruptible && s->interrupted) && !queue_fits(&s->queue, n)) {
                int64_t until = clock_now_ns() + STALL_STEP_MSEC * CLOCK_NSEC_PER_MSEC;

                if (session_stalled(s, &stall)) {
                        s->lost = true; /* the I/O thread empties the queue and closes */
                        break;
                }
                session_wait_until(s, until);
        }
        pthread_mutex_unlock(&s->lock);
        wake_ring();
}
