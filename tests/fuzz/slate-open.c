/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the store may hand to a new manholed in place of a slate: the beginning of one is the input, the rest
 * is as long as it says it is. What is taken must be within its bounds, and can be gone on with.
 */

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/slate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_bytes(const SlateFlow *f, const SlateBytes *bytes) {
        uint8_t sum = 0;

        assert(f->taken - f->written <= SLATE_RECORDED_MAX);
        for (uint64_t at = f->written; at < f->taken; at++)
                sum += bytes->recorded[at % SLATE_RECORDED_MAX];
        for (uint32_t at = f->read_from; at < f->read_to; at++)
                sum += bytes->read[at];
        assert(f->n_header < FRAME_HEADER_SIZE && f->frame_remaining <= FRAME_PAYLOAD_MAX && sum + 1);
}

static void use(Slate *s) {
        const SlateState before = *slate_now(s);

        assert(before.n_prompt <= BACKLOG_PROMPT_MAX && before.n_backlog <= BACKLOG_MAX);
        use_bytes(&before.flows[SLATE_INPUT], &s->pages->bytes[SLATE_INPUT]);
        use_bytes(&before.flows[SLATE_OUTPUT], &s->pages->bytes[SLATE_OUTPUT]);
        slate_commit(s);
        assert(slate_now(s)->generation == before.generation + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;
        uint32_t length = 0;
        Slate slate;

        if (size >= offsetof(SlateHeader, state_size))
                memcpy(&length, data + offsetof(SlateHeader, size), sizeof(length));
        if (length < size || length > 4 * sizeof(SlatePages))
                length = (uint32_t)size;
        assert(fd >= 0 && pwrite(fd, data, size, 0) == (ssize_t)size && ftruncate(fd, length) == 0);
        assert(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
        r = slate_open(&slate, fd);
        if (r == 0)
                use(&slate);
        else if (r == SLATE_E_VERSION)
                assert(strlen(slate.pages->header.session) == RECORD_SESSION_ID_MAX - 1);
        if (r == 0 || r == SLATE_E_VERSION)
                slate_done(&slate);
        else
                (void)close(fd);
        return 0;
}
