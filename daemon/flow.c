/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/flow.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"

/* Read at once: whole records of a stream without frames. */
#define READ_SIZE (4U * RECORD_DATA_MAX)
/* At most this much unwritten before reading pauses. */
#define UNWRITTEN_MAX 65536U
/* Of inserts that wait: a sender may stay in the middle of a frame. */
#define INSERTS_MAX 16U

/* What to wait for follows from the buffers alone. */
static void flow_watch(Flow *f) {
        bool reads = !f->facts.eof && !f->blocked && evbuffer_get_length(f->read) == 0 &&
                     evbuffer_get_length(f->recorded) < UNWRITTEN_MAX;
        bool writes = evbuffer_get_length(f->recorded) > 0;

        if (f->closed)
                reads = writes = false;
        if (f->readable)
                (void)(reads ? event_add(f->readable, NULL) : event_del(f->readable));
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
        int r = 0;

        if (keep)
                recorder_keep(f->session, record);
        else
                r = recorder_write(f->session, record);
        if (r < 0)
                return r;
        f->facts.position += record.n_data;
        f->facts.n_records++;
        if (evbuffer_add(f->recorded, insert->bytes, insert->n) < 0)
                return -ENOMEM;
        STAILQ_REMOVE_HEAD(&f->inserts, link);
        f->n_inserts--;
        free(insert);
        return 0;
}

bool flow_between_frames(const Flow *f) {
        return !f->facts.tap.framed || frame_scanner_idle(&f->facts.tap.scanner);
}

static bool flow_may_insert(const Flow *f) {
        return !STAILQ_EMPTY(&f->inserts) && flow_between_frames(f);
}

/* The same with the next piece of what was read. 0, TAP_E_PROTOCOL or negative errno. */
static int flow_record_piece(Flow *f) {
        size_t n = evbuffer_get_length(f->read), used, look = n < RECORD_DATA_MAX ? n : RECORD_DATA_MAX;
        const uint8_t *bytes = evbuffer_pullup(f->read, (ev_ssize_t)look);
        Tap before = f->facts.tap;
        TapPiece piece;
        int r;

        if (!bytes)
                return -ENOMEM;
        if (tap_next(&f->facts.tap, bytes, look, &used, &piece) != 0)
                return TAP_E_PROTOCOL;
        if (piece.record) {
                r = recorder_write(f->session, (Record){ .event = piece.event, .frame = piece.frame,
                                                         .position = f->facts.position, .data = piece.data,
                                                         .n_data = piece.n_data });
                if (r < 0) {
                        f->facts.tap = before;
                        return r;
                }
                f->facts.position += piece.n_data;
                f->facts.n_records++;
        }
        f->handler->seen(f, &piece, f->userdata);
        return evbuffer_remove_buffer(f->read, f->recorded, used) == (int)used ? 0 : -ENOMEM;
}

/* Records what can be recorded now and hands it on. 0, -EAGAIN, TAP_E_PROTOCOL, or negative errno
 * when the recorder is lost. */
static int flow_record(Flow *f) {
        int r = 0;

        while (r == 0 && (flow_may_insert(f) || evbuffer_get_length(f->read) > 0))
                r = flow_may_insert(f) ? flow_record_insert(f, false) : flow_record_piece(f);
        return r;
}

/* Writes what the receiver takes. False when it is gone. */
static bool flow_write(Flow *f) {
        if (f->to < 0)
                (void)evbuffer_drain(f->recorded, evbuffer_get_length(f->recorded));
        while (evbuffer_get_length(f->recorded) > 0)
                if (evbuffer_write(f->recorded, f->to) < 0)
                        return errno == EAGAIN || errno == EINTR;
        return true;
}

static void flow_dispatch(Flow *f) {
        bool alive;
        int r;

        if (f->closed)
                return;
        r = flow_record(f);
        f->blocked = r == -EAGAIN;
        alive = flow_write(f);
        if (r != 0 && r != -EAGAIN) {
                flow_finish(f, r == TAP_E_PROTOCOL ? FLOW_PROTOCOL : FLOW_UNRECORDED);
                return;
        }
        if (!alive) {
                flow_finish(f, FLOW_LOST);
                return;
        }
        if (f->facts.eof && evbuffer_get_length(f->read) == 0 && evbuffer_get_length(f->recorded) == 0) {
                (void)shutdown(f->to, SHUT_WR);
                flow_finish(f, FLOW_CLOSED);
                return;
        }
        flow_watch(f);
}

/* As read(2). evbuffer_read() takes 4,096 bytes at most: a full record, and the next one for the rest. */
static ssize_t flow_read(Flow *f) {
        struct evbuffer_iovec room;
        ssize_t n;

        if (evbuffer_reserve_space(f->read, READ_SIZE, &room, 1) != 1) {
                errno = ENOMEM;
                return -1;
        }
        n = read(f->from, room.iov_base, READ_SIZE);
        if (n > 0) {
                room.iov_len = (size_t)n;
                (void)evbuffer_commit_space(f->read, &room, 1);
        }
        return n;
}

static void flow_on_readable(evutil_socket_t fd, short what, void *userdata) {
        Flow *f = userdata;
        ssize_t n = flow_read(f);

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

int flow_init(Flow *f, struct event_base *loop, int from, int to, bool from_client, bool framed,
              RecorderSession *session, const FlowHandler *handler, void *userdata) {
        *f = (Flow){ .from = from, .to = to, .session = session, .handler = handler, .userdata = userdata,
                     .facts.tap = { .framed = framed, .from_client = from_client } };
        STAILQ_INIT(&f->inserts);
        f->readable = event_new(loop, from, EV_READ | EV_PERSIST, flow_on_readable, f);
        f->writable = event_new(loop, to, EV_WRITE | EV_PERSIST, flow_on_writable, f);
        f->read = evbuffer_new();
        f->recorded = evbuffer_new();
        if (!f->readable || !f->writable || !f->read || !f->recorded) {
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
        if (f->read)
                evbuffer_free(f->read);
        if (f->recorded)
                evbuffer_free(f->recorded);
        *f = (Flow){ .facts = f->facts };
}

int flow_push(Flow *f, const void *bytes, size_t n) {
        return evbuffer_add(f->read, bytes, n) < 0 ? -ENOMEM : 0;
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
static void flow_head_again(const Flow *f, struct evbuffer *out) {
        const FrameScanner *scanner = &f->facts.tap.scanner;
        FrameHeader header = scanner->header;
        uint8_t bytes[FRAME_HEADER_SIZE];

        if (flow_between_frames(f))
                return;
        if (scanner->remaining == 0) {
                (void)evbuffer_add(out, scanner->bytes, scanner->n_bytes);
                return;
        }
        header.length = scanner->remaining;
        frame_header_encode(&header, bytes);
        (void)evbuffer_add(out, bytes, sizeof(bytes));
}

int flow_set_to(Flow *f, struct event_base *loop, int to, struct evbuffer *first) {
        struct event *writable = to < 0 ? NULL : event_new(loop, to, EV_WRITE | EV_PERSIST, flow_on_writable, f);

        if (to >= 0 && !writable)
                return -ENOMEM;
        if (f->writable)
                event_free(f->writable);
        f->writable = writable;
        f->to = to;
        f->closed = false;
        (void)evbuffer_drain(f->recorded, evbuffer_get_length(f->recorded));
        if (first)
                (void)evbuffer_add_buffer(f->recorded, first);
        if (to >= 0)
                flow_head_again(f, f->recorded);
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
