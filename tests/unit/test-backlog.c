/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <string.h>

#include "daemon/backlog.h"
#include "lib/console.h"

/* A frame's header and payload, as a tap cuts them; type 0: plain bytes. */
static void say(Backlog *b, bool from_client, uint32_t type, const char *text) {
        TapPiece head = { .type = type, .begins = true, .ends = *text == '\0' },
                 body = { .type = type, .ends = true, .data = (const uint8_t *)text, .n_data = strlen(text) };
        TranscriptPiece shown;

        if (type != 0) {
                shown = transcript_piece(from_client, &head);
                backlog_add(b, &head, &shown);
        }
        if (*text) {
                shown = transcript_piece(from_client, &body);
                backlog_add(b, &body, &shown);
        }
}

static void assert_text(Backlog *b, const char *text) {
        size_t n = evbuffer_get_length(b->text);

        assert_int_equal(n, strlen(text));
        if (n > 0)
                assert_memory_equal(evbuffer_pullup(b->text, -1), text, n);
}

static void it_reads_as_the_terminal_did(void **state) {
        Backlog b;

        assert_int_equal(backlog_init(&b), 0);
        say(&b, false, CONSOLE_ANSWER, "{}");
        say(&b, true, CONSOLE_OPEN, "banner=no\n");
        say(&b, false, CONSOLE_PROMPT, ">>> ");
        assert_text(&b, ""); /* it waits: who comes is given it as a prompt */
        assert_true(b.prompts);
        assert_memory_equal(b.prompt, ">>> ", b.n_prompt);
        say(&b, true, CONSOLE_COMPLETE, "pri");
        say(&b, true, CONSOLE_INPUT, "1+1\n");
        assert_false(b.prompts);
        say(&b, false, CONSOLE_OUTPUT, "2\n");
        say(&b, false, CONSOLE_STDERR, "oh\n");
        say(&b, false, CONSOLE_PROMPT, "... ");
        say(&b, true, CONSOLE_INTERRUPT, "");
        say(&b, false, CONSOLE_PROMPT, ">>> ");
        say(&b, true, CONSOLE_INPUT, "");
        assert_text(&b, ">>> 1+1\n2\noh\n... ^C\n>>> ^D\n");
        backlog_done(&b);
}

static void the_plain_face_is_all_text(void **state) {
        Backlog b;

        assert_int_equal(backlog_init(&b), 0);
        say(&b, false, 0, ">>> ");
        say(&b, true, 0, "1\n");
        say(&b, false, 0, "1\n>>> ");
        assert_text(&b, ">>> 1\n1\n>>> ");
        assert_false(b.prompts);
        backlog_done(&b);
}

static void a_prompt_is_bounded_and_may_be_empty(void **state) {
        static char huge[1000];
        Backlog b;

        memset(huge, 'x', sizeof(huge) - 1);
        assert_int_equal(backlog_init(&b), 0);
        say(&b, false, CONSOLE_PROMPT, huge);
        assert_int_equal(b.n_prompt, BACKLOG_PROMPT_MAX);
        say(&b, false, CONSOLE_PROMPT, "");
        assert_true(b.prompts);
        assert_int_equal(b.n_prompt, 0);
        backlog_done(&b);
}

static void the_oldest_goes_first_and_what_was_missed_is_counted(void **state) {
        static char many[BACKLOG_MAX + 1];
        Backlog b;

        memset(many, 'x', BACKLOG_MAX);
        assert_int_equal(backlog_init(&b), 0);
        say(&b, false, CONSOLE_OUTPUT, many);
        say(&b, false, CONSOLE_OUTPUT, "new");
        assert_int_equal(evbuffer_get_length(b.text), BACKLOG_MAX);
        backlog_mark(&b);
        say(&b, false, CONSOLE_OUTPUT, "more");
        assert_true(backlog_missed(&b) == 0); /* what went had been shown */
        say(&b, false, CONSOLE_OUTPUT, many);
        assert_true(backlog_missed(&b) == 4);
        backlog_done(&b);
}

static void no_character_is_torn(void **state) {
        static char many[BACKLOG_MAX];
        Backlog b;

        memset(many, 'x', BACKLOG_MAX - 1);
        assert_int_equal(backlog_init(&b), 0);
        say(&b, false, CONSOLE_OUTPUT, "\xe2\x82\xac");
        say(&b, false, CONSOLE_OUTPUT, many); /* two bytes too many: of three */
        assert_int_equal(evbuffer_get_length(b.text), BACKLOG_MAX - 1);
        assert_int_equal(*evbuffer_pullup(b.text, 1), 'x');
        backlog_done(&b);
}

static void a_session_that_may_not_linger_keeps_nothing(void **state) {
        Backlog b = {};

        say(&b, false, CONSOLE_OUTPUT, "x");
        assert_null(b.text);
        backlog_done(&b);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(it_reads_as_the_terminal_did),
                cmocka_unit_test(the_plain_face_is_all_text),
                cmocka_unit_test(a_prompt_is_bounded_and_may_be_empty),
                cmocka_unit_test(the_oldest_goes_first_and_what_was_missed_is_counted),
                cmocka_unit_test(no_character_is_torn),
                cmocka_unit_test(a_session_that_may_not_linger_keeps_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
