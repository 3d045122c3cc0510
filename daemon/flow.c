/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/flow.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/fd.h"

/* Read at once: whole records of a stream without frames. */
#define READ_SIZE (4U * RECORD_DATA_MAX)
/* At most this much unwritten before reading pauses. */
#define UNWRITTEN_MAX 65536U
/* Of inserts that wait: a sender may stay in the middle of a frame. */
#define INSERTS_MAX 16U
/* What is typed and answered fits into this much; what a flood has filled is given back when the sender
 * has been silent for a while. */
#define NARROW 2048U
static const struct timeval SILENCE = { .tv_sec = 1 };

/* ----------------------------------------------------------- bytes under way */

size_t flow_unrecorded(const Flow *f) {
        return f->facts.read_to - f->facts.read_from;
}

size_t flow_unwritten(const Flow *f) {
        return (size_t)(f->facts.taken - f->facts.written);
}

/* Behind what is taken. It counts when the slate's values say so. */
static void flow_take(Flow *f, const void *bytes, size_t n) {
        size_t at = (size_t)(f->facts.taken % SLATE_RECORDED_MAX);
        size_t first = n < SLATE_RECORDED_MAX - at ? n : SLATE_RECORDED_MAX - at;

        assert(n <= SLATE_RECORDED_MAX - flow_unwritten(f));
        if (n == 0)
                return;
        memcpy(f->bytes->recorded + at, bytes, first);
        memcpy(f->bytes->recorded, (const uint8_t *)bytes + first, n - first);
        f->facts.taken += n;
        f->wide |= at + n > NARROW;
}

static void flow_written(Flow *f, size_t n) {
        f->facts.written += n;
        /* From the beginning: of a flow that keeps up no more memory is used. */
        if (f->facts.written == f->facts.taken)
                f->facts.written = f->facts.taken = 0;
        slate_commit(f->slate);
}

static SlateDirection flow_direction(const Flow *f) {
        return f->facts.tap.from_client ? SLATE_INPUT : SLATE_OUTPUT;
}

/* As read(2). */
static ssize_t flow_read(Flow *f) {
        ssize_t n;

        assert(f->facts.read_to == 0);
        n = slate_read(f->slate, flow_direction(f), f->from, f->bytes->read, READ_SIZE);
        if (n > 0) {
                f->facts.read_to = (uint32_t)n;
                f->wide |= n > NARROW;
                slate_commit(f->slate);
        }
        return n;
}

/* Writes what the receiver takes. False when it is gone. */
static bool flow_write(Flow *f) {
        if (f->to < 0 && flow_unwritten(f) > 0)
                flow_written(f, flow_unwritten(f));
        while (flow_unwritten(f) > 0) {
                size_t at = (size_t)(f->facts.written % SLATE_RECORDED_MAX), n = flow_unwritten(f);
                size_t first = n < SLATE_RECORDED_MAX - at ? n : SLATE_RECORDED_MAX - at;
                struct iovec iov[2] = { { f->bytes->recorded + at, first }, { f->bytes->recorded, n - first } };
                ssize_t k = slate_write(f->slate, flow_direction(f), f->to, iov, n > first ? 2 : 1);

                if (k < 0)
                        return errno == EAGAIN || errno == EINTR;
                flow_written(f, (size_t)k);
        }
        return true;
}

/* ------------------------------------------------------------------- relay */

/* What to wait for follows from the buffers alone. */
static void flow_watch(Flow *f) {
        bool reads = !f->facts.eof && !f->blocked && flow_unrecorded(f) == 0 && flow_unwritten(f) < UNWRITTEN_MAX;
        bool writes = flow_unwritten(f) > 0;

        if (f->closed)
                reads = writes = false;
        if (f->readable)
                (void)(reads ? event_add(f->readable, f->wide ? &SILENCE : NULL) : event_del(f->readable));
        if (f->writable)
                (void)(writes ? event_add(f->writable, NULL) : event_del(f->writable));
}

static void flow_finish(Flow *f, FlowEnd how) {
        if (f->closed)
                return;
        f->closed = true;
        flow_watch(f);
        f->handler->end(f, how, f->userdata);
}

/* Records the first insert and hands it on. With @keep it is not waited for the recorder. 0 or negative
 * errno. */
static int flow_record_insert(Flow *f, bool keep) {
        FlowInsert *insert = STAILQ_FIRST(&f->inserts);
        size_t header = f->facts.tap.framed ? FRAME_HEADER_SIZE : 0;
        Record record = { .event = RECORD_OUTPUT, .frame = "notice", .position = f->facts.position,
                          .data = insert->bytes + header, .n_data = insert->n - header };
        FlowFacts before = f->facts;
        int r = 0;

        flow_take(f, insert->bytes, insert->n);
        f->facts.position += record.n_data;
        f->facts.n_records++;
        if (keep)
                recorder_keep(f->session, record);
        else
                r = recorder_write(f->session, record);
        if (r < 0) {
                f->facts = before;
                return r;
        }
        slate_commit(f->slate);
        STAILQ_REMOVE_HEAD(&f->inserts, link);
        f->n_inserts--;
        free(insert);
        return 0;
}

bool flow_between_frames(const Flow *f) {
        return !f->facts.tap.framed || frame_scanner_idle(&f->facts.tap.scanner);
}

static bool flow_may_insert(const Flow *f) {
        const FlowInsert *insert = STAILQ_FIRST(&f->inserts);

        return insert && flow_between_frames(f) && insert->n <= SLATE_RECORDED_MAX - flow_unwritten(f);
}

/* The same with the next piece of what was read. The facts are those that hold when it is recorded, and
 * are taken back if it cannot be. 0, TAP_E_PROTOCOL or negative errno. */
static int flow_record_piece(Flow *f) {
        const uint8_t *bytes = f->bytes->read + f->facts.read_from;
        FlowFacts before = f->facts;
        size_t used;
        TapPiece piece;
        int r = 0;

        if (tap_next(&f->facts.tap, bytes, flow_unrecorded(f), &used, &piece) != 0)
                return TAP_E_PROTOCOL;
        flow_take(f, bytes, used);
        f->facts.read_from += (uint32_t)used;
        if (flow_unrecorded(f) == 0)
                f->facts.read_from = f->facts.read_to = 0; /* where the next bytes are read to */
        if (piece.record) {
                f->facts.position += piece.n_data;
                f->facts.n_records++;
                r = recorder_write(f->session, (Record){ .event = piece.event, .frame = piece.frame,
                                                         .position = before.position, .data = piece.data,
                                                         .n_data = piece.n_data });
        }
        if (r < 0) {
                f->facts = before;
                return r;
        }
        f->handler->seen(f, &piece, f->userdata);
        slate_commit(f->slate);
        return 0;
}

/* There is something to record, and room for it behind what waits to be written. */
static bool flow_may_record(const Flow *f) {
        return SLATE_RECORDED_MAX - flow_unwritten(f) >= RECORD_DATA_MAX && (flow_may_insert(f) || flow_unrecorded(f) > 0);
}

/* Records what can be recorded now and hands it on. 0, -EAGAIN, TAP_E_PROTOCOL, or negative errno
 * when the recorder is lost. */
static int flow_record(Flow *f) {
        int r = 0;

        while (r == 0 && flow_may_record(f))
                r = flow_may_insert(f) ? flow_record_insert(f, false) : flow_record_piece(f);
        return r;
}

static void flow_dispatch(Flow *f) {
        bool alive;
        int r;

        if (f->closed)
                return;
        do {
                r = flow_record(f);
                alive = flow_write(f);
        } while (r == 0 && alive && flow_may_record(f));
        f->blocked = r == -EAGAIN;
        if (r != 0 && r != -EAGAIN) {
                flow_finish(f, r == TAP_E_PROTOCOL ? FLOW_PROTOCOL : FLOW_UNRECORDED);
                return;
        }
        if (!alive) {
                flow_finish(f, FLOW_LOST);
                return;
        }
        if (f->facts.eof && flow_unrecorded(f) == 0 && flow_unwritten(f) == 0) {
                (void)shutdown(f->to, SHUT_WR);
                flow_finish(f, FLOW_CLOSED);
                return;
        }
        flow_watch(f);
}

static void flow_on_silence(Flow *f) {
        (void)event_remove_timer(f->readable);
        if (flow_unwritten(f) > 0)
                return; /* and when it is written, the next silence begins */
        slate_shrink(f->slate, flow_direction(f));
        f->wide = false;
}

static void flow_on_readable(evutil_socket_t fd, short what, void *userdata) {
        Flow *f = userdata;
        ssize_t n;

        if (what & EV_TIMEOUT) {
                flow_on_silence(f);
                return;
        }
        n = flow_read(f);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0 && f->holds && fd_is_hung_up(fd)) {
                flow_finish(f, FLOW_GONE);
                return;
        }
        /* A reset is an end as well: what came before it still goes through. */
        if (n <= 0)
                f->facts.eof = true;
        flow_dispatch(f);
}

static void flow_on_writable(evutil_socket_t fd, short what, void *userdata) {
        flow_dispatch(userdata);
}

int flow_init(Flow *f, struct event_base *loop, int from, int to, bool from_client, bool framed, Slate *slate,
              RecorderSession *session, const FlowHandler *handler, void *userdata) {
        *f = (Flow){ .from = from, .to = to, .slate = slate, .session = session, .handler = handler, .userdata = userdata,
                     .facts.tap = { .framed = framed, .from_client = from_client } };
        f->bytes = &slate->pages->bytes[flow_direction(f)];
        STAILQ_INIT(&f->inserts);
        f->readable = from < 0 ? NULL : event_new(loop, from, EV_READ | EV_PERSIST, flow_on_readable, f);
        f->writable = to < 0 ? NULL : event_new(loop, to, EV_WRITE | EV_PERSIST, flow_on_writable, f);
        if ((from >= 0 && !f->readable) || (to >= 0 && !f->writable)) {
                flow_done(f);
                return -ENOMEM;
        }
        return 0;
}

void flow_done(Flow *f) {
        FlowInsert *insert;

        while ((insert = STAILQ_FIRST(&f->inserts))) {
                STAILQ_REMOVE_HEAD(&f->inserts, link);
                free(insert);
        }
        if (f->readable)
                event_free(f->readable);
        if (f->writable)
                event_free(f->writable);
        *f = (Flow){ .facts = f->facts };
}

int flow_push(Flow *f, const void *bytes, size_t n) {
        if (n == 0)
                return 0;
        if (n > SLATE_READ_MAX - f->facts.read_to)
                return -ENOBUFS;
        memcpy(f->bytes->read + f->facts.read_to, bytes, n);
        f->facts.read_to += (uint32_t)n;
        f->wide |= f->facts.read_to > NARROW;
        slate_commit(f->slate);
        return 0;
}

void flow_insert(Flow *f, uint32_t type, const char *text, size_t n) {
        size_t header = f->facts.tap.framed ? FRAME_HEADER_SIZE : 0;
        FlowInsert *insert;

        assert(!f->facts.tap.from_client && n <= FLOW_INSERT_MAX);
        if (f->n_inserts == INSERTS_MAX || f->to < 0)
                return;
        insert = malloc(sizeof(*insert) + header + n);
        if (!insert)
                return;
        insert->n = header + n;
        if (f->facts.tap.framed)
                frame_header_encode(&(FrameHeader){ .length = (uint32_t)n, .type = type }, insert->bytes);
        memcpy(insert->bytes + header, text, n);
        STAILQ_INSERT_TAIL(&f->inserts, insert, link);
        f->n_inserts++;
        event_active(f->writable, EV_WRITE, 0); /* later: it may be the end of the flow */
}

void flow_last_words(Flow *f) {
        (void)flow_record(f);
        while (flow_may_insert(f) && flow_record_insert(f, true) == 0)
                ;
        (void)flow_write(f);
}

void flow_end(Flow *f) {
        f->closed = false;
        f->facts.eof = true;
        flow_dispatch(f);
}

int flow_set_from(Flow *f, struct event_base *loop, int from) {
        struct event *readable = from < 0 ? NULL : event_new(loop, from, EV_READ | EV_PERSIST, flow_on_readable, f);

        if (from >= 0 && !readable)
                return -ENOMEM;
        if (f->readable)
                event_free(f->readable);
        f->readable = readable;
        f->from = from;
        f->closed = false;
        flow_watch(f);
        return 0;
}

/* What a receiver needs to understand the rest of the frame that is under way. */
static void flow_head_again(Flow *f) {
        const FrameScanner *scanner = &f->facts.tap.scanner;
        FrameHeader header = scanner->header;
        uint8_t bytes[FRAME_HEADER_SIZE];

        if (flow_between_frames(f))
                return;
        if (scanner->remaining == 0) {
                flow_take(f, scanner->bytes, scanner->n_bytes);
                return;
        }
        header.length = scanner->remaining;
        frame_header_encode(&header, bytes);
        flow_take(f, bytes, sizeof(bytes));
}

int flow_set_to(Flow *f, struct event_base *loop, int to, struct evbuffer *first) {
        struct event *writable;

        if (first && evbuffer_get_length(first) > FLOW_FIRST_MAX)
                return -ENOBUFS;
        writable = to < 0 ? NULL : event_new(loop, to, EV_WRITE | EV_PERSIST, flow_on_writable, f);
        if (to >= 0 && !writable)
                return -ENOMEM;
        if (f->writable)
                event_free(f->writable);
        f->writable = writable;
        f->to = to;
        f->closed = false;
        flow_written(f, flow_unwritten(f));
        if (first)
                flow_take(f, evbuffer_pullup(first, -1), evbuffer_get_length(first));
        if (to >= 0)
                flow_head_again(f);
        slate_commit(f->slate);
        flow_watch(f);
        return 0;
}

void flow_start(Flow *f) {
        flow_dispatch(f);
}

void flow_resume(Flow *f) {
        if (f->blocked)
                flow_dispatch(f);
}
