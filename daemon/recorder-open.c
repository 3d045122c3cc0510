/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/recorder-open.h"

#include <errno.h>
#include <string.h>

int recorder_open(struct event_base *loop, const char *where, Recorder **ret) {
        if (strcmp(where, "journal") == 0)
                return recorder_journal_new(loop, ret);
        if (strncmp(where, "file:/", 6) == 0)
                return recorder_file_new(loop, where + 5, ret);
        if (strcmp(where, "none") == 0)
                return recorder_none_new(ret);
        return -EINVAL;
}
