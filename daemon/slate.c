/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/slate.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"

static const char MAGIC[8] = "manholed";
/* In place of a number of bytes: the kernel has moved none. */
#define NOTHING UINT32_MAX
/* Nobody can make it longer or shorter under our feet. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* The layout is a contract between versions. */
_Static_assert(sizeof(SlateHeader) == 672, "the header is the same in every version");
_Static_assert(offsetof(SlatePages, states) == 672, "as is where the values are");
_Static_assert(offsetof(SlateState, mark) == 56, "and how they begin");
_Static_assert(sizeof(SlateState) == 496 && sizeof(SlateFixed) == 72, "another layout is another version");

/* What a process did before it was killed is what it was told to do, in that order; only the compiler
 * may not change it. */
static void in_order(void) {
        atomic_signal_fence(memory_order_seq_cst);
}

int slate_init(Slate *s, bool outlives) {
        _cleanup_fd_ int fd = -1;
        void *pages;

        if (outlives) {
                fd = memfd_create("manholed-session", MFD_CLOEXEC | MFD_ALLOW_SEALING);
                if (fd < 0 || ftruncate(fd, sizeof(SlatePages)) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
                        return -errno;
        }
        pages = mmap(NULL, sizeof(SlatePages), PROT_READ | PROT_WRITE,
                     outlives ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
        if (pages == MAP_FAILED)
                return -errno;
        *s = (Slate){ .pages = pages, .fd = TAKE_FD(fd) };
        memcpy(s->pages->header.magic, MAGIC, sizeof(MAGIC));
        s->pages->header.version = SLATE_VERSION;
        s->pages->header.size = sizeof(SlatePages);
        s->pages->header.state_size = sizeof(SlateState);
        return 0;
}

void slate_done(Slate *s) {
        if (!s->pages)
                return;
        (void)munmap(s->pages, sizeof(SlatePages));
        (void)fd_close(s->fd);
        *s = (Slate){};
}

/* Those that are whole. */
static void forget_pages(const Slate *s, const uint8_t *bytes, size_t n) {
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
        uintptr_t begin = ((uintptr_t)bytes + page - 1) / page * page;
        uintptr_t end = (uintptr_t)(bytes + n) / page * page;

        if (begin < end)
                (void)madvise((void *)begin, end - begin, s->fd >= 0 ? MADV_REMOVE : MADV_DONTNEED);
}

void slate_shrink(Slate *s, SlateDirection direction) {
        SlateBytes *b = &s->pages->bytes[direction];

        forget_pages(s, b->read, sizeof(b->read));
        forget_pages(s, b->recorded, sizeof(b->recorded));
}

/* ----------------------------------------------------------------- values */

/* Of whichever version. */
const SlateState *slate_now(const Slate *s) {
        const SlateHeader *h = &s->pages->header;

        return (const void *)((const uint8_t *)s->pages->states + (size_t)h->active * h->state_size);
}

static SlateState *slate_next(const Slate *s) {
        return &s->pages->states[!s->pages->header.active];
}

static void slate_turn(Slate *s) {
        in_order();
        s->pages->header.active = !s->pages->header.active;
        in_order();
}

void slate_prepare(Slate *s) {
        SlateState *next = slate_next(s);

        if (s->collect)
                s->collect(next, s->userdata);
        next->generation = slate_now(s)->generation + 1;
}

void slate_commit(Slate *s) {
        slate_prepare(s);
        slate_turn(s);
}

static bool slate_is_noted(const Slate *s) {
        return s->pages->note.generation == slate_now(s)->generation &&
               s->pages->note.kernel.msg_len != NOTHING;
}

void slate_settle(Slate *s) {
        /* From the moment that it is noted the prepared values are as good as in force. */
        if (slate_is_noted(s) && s->pages->note.act == SLATE_RECORDS)
                slate_turn(s);
        else
                slate_commit(s);
}

/* ---------------------------------------------------------- system calls */

static struct mmsghdr *slate_arm(Slate *s, SlateAct act, SlateDirection direction, struct iovec *iov,
                                 size_t n_iov) {
        struct mmsghdr *kernel = &s->pages->note.kernel;

        kernel->msg_len = NOTHING;
        in_order();
        s->pages->note.act = act;
        s->pages->note.direction = direction;
        s->pages->note.generation = slate_now(s)->generation;
        kernel->msg_hdr = (struct msghdr){ .msg_iov = iov, .msg_iovlen = n_iov };
        in_order();
        return kernel;
}

ssize_t slate_read(Slate *s, SlateDirection direction, int fd, void *room, size_t n) {
        struct iovec iov = { room, n };
        struct mmsghdr *kernel = slate_arm(s, SLATE_READS, direction, &iov, 1);
        int r = recvmmsg(fd, kernel, 1, MSG_DONTWAIT, NULL);

        /* Other than recv(2) it tells of a reset before it gives what came ahead of that; once. */
        if (r < 0 && errno == ECONNRESET)
                r = recvmmsg(fd, kernel, 1, MSG_DONTWAIT, NULL);
        return r < 0 ? -1 : (ssize_t)kernel->msg_len;
}

ssize_t slate_write(Slate *s, SlateDirection direction, int fd, struct iovec *iov, size_t n_iov) {
        struct mmsghdr *kernel = slate_arm(s, SLATE_WRITES, direction, iov, n_iov);

        return sendmmsg(fd, kernel, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : (ssize_t)kernel->msg_len;
}

ssize_t slate_send(Slate *s, int fd, const void *bytes, size_t n) {
        struct iovec iov = { (void *)bytes, n };
        struct mmsghdr *kernel;

        if (!s)
                return send(fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        kernel = slate_arm(s, SLATE_RECORDS, 0, &iov, 1);
        return sendmmsg(fd, kernel, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : (ssize_t)kernel->msg_len;
}

/* --------------------------------------------------------- one of another */

static bool is_text(const char *text, size_t size) {
        return memchr(text, '\0', size) != NULL;
}

static bool header_is_valid(const SlateHeader *h) {
        return is_text(h->session, sizeof(h->session)) && is_text(h->recorder, sizeof(h->recorder)) &&
               is_text(h->client_user, sizeof(h->client_user)) &&
               is_text(h->target_comm, sizeof(h->target_comm)) &&
               is_text(h->target_unit, sizeof(h->target_unit)) &&
               strlen(h->session) == RECORD_SESSION_ID_MAX - 1;
}

static bool flow_is_valid(const SlateFlow *f) {
        return f->written <= f->taken && f->taken - f->written <= SLATE_RECORDED_MAX &&
               (f->read_to == 0 ? f->read_from == 0 : f->read_from < f->read_to) &&
               f->read_to <= SLATE_READ_MAX && f->n_header < FRAME_HEADER_SIZE &&
               f->frame_length <= FRAME_PAYLOAD_MAX && f->frame_remaining <= f->frame_length;
}

static bool state_is_valid(const SlateState *v) {
        return v->n_prompt <= BACKLOG_PROMPT_MAX && v->n_backlog <= BACKLOG_MAX &&
               flow_is_valid(&v->flows[SLATE_INPUT]) && flow_is_valid(&v->flows[SLATE_OUTPUT]);
}

/* Reckons in what the kernel noted. */
static int slate_recover(Slate *s) {
        SlatePages *p = s->pages;
        SlateState *next = slate_next(s);
        uint32_t n = p->note.kernel.msg_len;

        if (slate_is_noted(s) && p->note.act == SLATE_RECORDS) {
                if (next->generation != slate_now(s)->generation + 1 || !state_is_valid(next))
                        return SLATE_E_NOT_ONE;
                slate_turn(s);
        } else if (slate_is_noted(s)) {
                if (p->note.direction >= _SLATE_DIRECTION_MAX)
                        return SLATE_E_NOT_ONE;
                *next = *slate_now(s);
                if (p->note.act == SLATE_READS)
                        next->flows[p->note.direction].read_to += n;
                else
                        next->flows[p->note.direction].written += n;
                next->generation++;
                if (!state_is_valid(next))
                        return SLATE_E_NOT_ONE;
                slate_turn(s);
        }
        return 0;
}

/* Of every version there are at least the header and two sets of values that begin alike. */
static int slate_look(Slate *s, uint64_t size) {
        const SlateHeader *h = &s->pages->header;

        if (memcmp(h->magic, MAGIC, sizeof(MAGIC)) != 0 || !header_is_valid(h) || h->active > 1 ||
            h->state_size < offsetof(SlateState, mark) || h->state_size % sizeof(uint64_t) != 0 ||
            size < sizeof(*h) + 2 * (uint64_t)h->state_size)
                return SLATE_E_NOT_ONE;
        if (h->version != SLATE_VERSION)
                return SLATE_E_VERSION;
        if (h->size != sizeof(SlatePages) || size != sizeof(SlatePages) ||
            h->state_size != sizeof(SlateState) || !state_is_valid(slate_now(s)))
                return SLATE_E_NOT_ONE;
        return slate_recover(s);
}

int slate_open(Slate *s, int fd) {
        Slate opened = { .fd = -1 };
        struct stat st;
        void *pages;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(SlateHeader) ||
            (fcntl(fd, F_GET_SEALS) & SEALS) != SEALS)
                return SLATE_E_NOT_ONE;
        /* What lies beyond the end of a shorter one is not looked at. */
        pages = mmap(NULL, sizeof(SlatePages), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (pages == MAP_FAILED)
                return -errno;
        opened.pages = pages;
        r = slate_look(&opened, (uint64_t)st.st_size);
        if (r != 0 && r != SLATE_E_VERSION) {
                slate_done(&opened);
                return r;
        }
        opened.fd = fd;
        *s = opened;
        return r;
}
