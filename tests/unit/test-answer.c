/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/answer.h"

#include <string.h>

#include "tests/unit/test.h"

static int parse(const AnswerMember *members, const char *text, json_t **ret) {
        return answer_parse(members, text, strlen(text), ret);
}

static void each_answer_may_be_as_the_protocol_has_it(void **state) {
        static const struct {
                const AnswerMember *members;
                const char *text;
        } answers[] = {
                { answer_stacks, "{\"gil\":true,\"text\":\"x\",\"threads\":[{\"native_id\":1,\"id\":140139131,"
                                 "\"name\":\"a\",\"state\":\"S\",\"syscall\":\"read\",\"wchan\":null,\"gil\":\"has\"}],"
                                 "\"truncated\":true}" },
                { answer_stacks, "{\"gil\":false,\"text\":\"\",\"threads\":[]}" },
                { answer_tasks, "{\"tasks\":[{\"id\":\"0x1\",\"name\":\"t\",\"state\":\"ready\",\"thread\":null,"
                                "\"waits_for\":[\"0x2\"],\"awaited_by\":[],\"stack\":[{\"file\":\"f\",\"line\":1,"
                                "\"function\":\"g\"}]}],\"greenlets\":[{\"id\":\"0x3\",\"type\":\"G\",\"stack\":[]}],"
                                "\"text\":null,\"truncated\":true,\"n_all\":9}" },
                { answer_health, "{\"gil\":true,\"version\":\"1\",\"pid\":1,\"uptime\":1,\"threads\":null,"
                                 "\"python\":{\"version\":\"3.11\",\"gil_wait_ms\":0.5,\"gc\":{\"enabled\":true,"
                                 "\"counts\":[1,2,3]},\"loop\":{\"tasks\":1,\"lag_ms\":null}}}" },
        };

        for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
                json_t *answer, *same = json_loads(answers[i].text, 0, NULL);

                assert_int_equal(parse(answers[i].members, answers[i].text, &answer), 0);
                assert_true(json_equal(answer, same));
                json_decref(answer);
                json_decref(same);
        }
}

static void what_is_not_known_is_left_out_at_every_depth(void **state) {
        json_t *answer, *wanted = json_loads("{\"gil\":true,\"text\":\"x\",\"threads\":[{\"native_id\":1}]}", 0, NULL);

        assert_int_equal(parse(answer_stacks, "{\"a\":1,\"gil\":true,\"text\":\"x\",\"b\":{\"gil\":1},"
                               "\"threads\":[{\"native_id\":1,\"c\":[[]]}]}", &answer), 0);
        assert_true(json_equal(answer, wanted));
        json_decref(answer);
        json_decref(wanted);
}

static void a_wrong_type_or_a_missing_member_is_invalid(void **state) {
        static const char *const texts[] = {
                "", "{}", "[]", "1", "{\"gil\":true}", "{\"gil\":null,\"text\":\"\",\"threads\":[]}",
                "{\"gil\":true,\"text\":1,\"threads\":[]}", "{\"gil\":true,\"text\":\"\",\"threads\":[null]}",
                "{\"gil\":true,\"text\":\"\",\"threads\":[{\"native_id\":1.5}]}",
                "{\"gil\":true,\"text\":\"\",\"threads\":[],\"truncated\":1}",
                "{\"gil\":true,\"text\":\"\",\"threads\":[]} x",
                "{\"gil\":true,\"gil\":true,\"text\":\"\",\"threads\":[]}",
        };
        json_t *answer = NULL;

        for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
                assert_int_equal(parse(answer_stacks, texts[i], &answer), ANSWER_E_INVALID);
        assert_int_equal(parse(answer_health, "{\"gil\":true,\"version\":\"1\",\"python\":{}}", &answer),
                         ANSWER_E_INVALID);
        assert_int_equal(parse(answer_health, "{\"gil\":true,\"version\":\"1\",\"python\":{\"version\":\"3\","
                               "\"gil_wait_ms\":1,\"gc\":{\"enabled\":true,\"counts\":[\"1\"]}}}", &answer),
                         ANSWER_E_INVALID);
        assert_null(answer);
}

static void an_error_is_told_apart(void **state) {
        json_t *answer = NULL;

        assert_int_equal(parse(answer_tasks, "{\"error\":\"busy\",\"message\":\"m\",\"more\":1}", &answer),
                         ANSWER_E_ERROR);
        assert_string_equal(json_string_value(json_object_get(answer, "error")), "busy");
        assert_string_equal(json_string_value(json_object_get(answer, "message")), "m");
        assert_null(json_object_get(answer, "more"));
        json_decref(answer);
        assert_int_equal(parse(answer_tasks, "{\"error\":\"busy\"}", &answer), ANSWER_E_ERROR);
        json_decref(answer);
        assert_int_equal(parse(answer_tasks, "{\"error\":1}", &answer), ANSWER_E_INVALID);
        assert_int_equal(parse(answer_tasks, "{\"error\":\"x\",\"message\":1}", &answer), ANSWER_E_INVALID);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_answer_may_be_as_the_protocol_has_it),
                cmocka_unit_test(what_is_not_known_is_left_out_at_every_depth),
                cmocka_unit_test(a_wrong_type_or_a_missing_member_is_invalid),
                cmocka_unit_test(an_error_is_told_apart),
        };

        return cmocka_run_group_tests_name("answer", tests, NULL, NULL);
}
