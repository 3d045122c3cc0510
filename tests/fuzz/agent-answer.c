/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What anybody's process may answer to the broker's questions: a payload, and before it a byte that says
 * which question it was. What comes through must still fit, and survive being written and read again.
 */

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_again(const AnswerMember *members, json_t *answer) {
        char *text = json_dumps(answer, JSON_COMPACT);
        json_t *again = NULL;

        assert(text);
        assert(answer_parse(members, text, strlen(text), &again) == 0);
        assert(json_equal(again, answer));
        json_decref(again);
        free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const AnswerMember *const all[] = { answer_stacks, answer_tasks, answer_health, answer_end };
        const AnswerMember *members;
        json_t *answer = NULL;

        if (size == 0)
                return 0;
        members = all[data[0] % (sizeof(all) / sizeof(*all))];
        switch (answer_parse(members, (const char *)data + 1, size - 1, &answer)) {
        case 0:
                read_again(members, answer);
                break;
        case ANSWER_E_ERROR:
                assert(json_is_string(json_object_get(answer, "error")));
                break;
        default:
                assert(!answer);
        }
        json_decref(answer);
        return 0;
}
