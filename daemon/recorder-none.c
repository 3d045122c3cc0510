/* SPDX-License-Identifier: BSD-2-Clause */

/* No records, where the administrator says so. */

#include <errno.h>
#include <stdlib.h>

#include "daemon/recorder.h"

static int none_begin(Recorder *recorder, RecorderSession *session, const Record *record) {
        return 0;
}

static int none_write(Recorder *recorder, RecorderSession *session, const Record *record, bool keep) {
        return 0;
}

static void none_end(Recorder *recorder, RecorderSession *session) {
}

static void none_free(Recorder *recorder) {
        recorder_done(recorder);
        free(recorder);
}

int recorder_none_new(Recorder **ret) {
        static const RecorderVTable vtable = { "none", none_begin, none_write, none_end, none_free };
        Recorder *r = calloc(1, sizeof(*r));

        if (!r)
                return -ENOMEM;
        recorder_init(r, &vtable, vtable.name);
        *ret = r;
        return 0;
}
