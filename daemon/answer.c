/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/answer.h"

#include <stdbool.h>
#include <string.h>

static const AnswerMember thread_members[] = {
        { "native_id", ANSWER_INTEGER },
        { "id", ANSWER_INTEGER, .nullable = true },
        { "name", ANSWER_TEXT, .nullable = true },
        { "state", ANSWER_TEXT, .nullable = true },
        { "syscall", ANSWER_TEXT, .nullable = true },
        { "wchan", ANSWER_TEXT, .nullable = true },
        { "gil", ANSWER_TEXT, .nullable = true },
        {},
};

const AnswerMember answer_stacks[] = {
        { "gil", ANSWER_BOOL },
        { "text", ANSWER_TEXT },
        { "threads", ANSWER_OBJECTS, .members = thread_members },
        { "truncated", ANSWER_BOOL, .nullable = true },
        {},
};

static const AnswerMember frame_members[] = {
        { "file", ANSWER_TEXT, .nullable = true },
        { "line", ANSWER_INTEGER, .nullable = true },
        { "function", ANSWER_TEXT, .nullable = true },
        {},
};

static const AnswerMember task_members[] = {
        { "id", ANSWER_TEXT },
        { "name", ANSWER_TEXT, .nullable = true },
        { "state", ANSWER_TEXT },
        { "thread", ANSWER_INTEGER, .nullable = true },
        { "waits_for", ANSWER_TEXTS },
        { "awaited_by", ANSWER_TEXTS },
        { "stack", ANSWER_OBJECTS, .members = frame_members },
        {},
};

static const AnswerMember greenlet_members[] = {
        { "id", ANSWER_TEXT },
        { "type", ANSWER_TEXT, .nullable = true },
        { "stack", ANSWER_OBJECTS, .members = frame_members },
        {},
};

const AnswerMember answer_tasks[] = {
        { "tasks", ANSWER_OBJECTS, .members = task_members },
        { "greenlets", ANSWER_OBJECTS, .members = greenlet_members },
        { "text", ANSWER_TEXT, .nullable = true },
        { "truncated", ANSWER_BOOL, .nullable = true },
        { "n_all", ANSWER_INTEGER, .nullable = true },
        {},
};

static const AnswerMember collector_members[] = {
        { "enabled", ANSWER_BOOL },
        { "counts", ANSWER_INTEGERS },
        {},
};

static const AnswerMember loop_members[] = {
        { "tasks", ANSWER_INTEGER },
        { "lag_ms", ANSWER_NUMBER, .nullable = true },
        {},
};

static const AnswerMember python_members[] = {
        { "version", ANSWER_TEXT },
        { "gil_wait_ms", ANSWER_NUMBER },
        { "gc", ANSWER_OBJECT, .nullable = true, .members = collector_members },
        { "loop", ANSWER_OBJECT, .nullable = true, .members = loop_members },
        {},
};

const AnswerMember answer_health[] = {
        { "gil", ANSWER_BOOL },
        { "version", ANSWER_TEXT },
        { "pid", ANSWER_INTEGER, .nullable = true },
        { "uptime", ANSWER_NUMBER, .nullable = true },
        { "threads", ANSWER_INTEGER, .nullable = true },
        { "rss", ANSWER_INTEGER, .nullable = true },
        { "descriptors", ANSWER_INTEGER, .nullable = true },
        { "descriptors_max", ANSWER_INTEGER, .nullable = true },
        { "connections", ANSWER_INTEGER, .nullable = true },
        { "consoles", ANSWER_INTEGER, .nullable = true },
        { "dropped", ANSWER_INTEGER, .nullable = true },
        { "python", ANSWER_OBJECT, .nullable = true, .members = python_members },
        {},
};

static const AnswerMember exception_members[] = {
        { "type", ANSWER_TEXT, .nullable = true },
        { "message", ANSWER_TEXT, .nullable = true },
        { "traceback", ANSWER_TEXT, .nullable = true },
        {},
};

const AnswerMember answer_end[] = {
        { "reason", ANSWER_TEXT },
        { "status", ANSWER_INTEGER, .nullable = true },
        { "result", ANSWER_TEXT, .nullable = true },
        { "exception", ANSWER_OBJECT, .nullable = true, .members = exception_members },
        { "truncated", ANSWER_BOOL, .nullable = true },
        {},
};

static bool object_fits(json_t *object, const AnswerMember *members);
static bool array_fits(json_t *array, AnswerType type, const AnswerMember *members);

static bool value_fits(json_t *value, AnswerType type, const AnswerMember *members) {
        switch (type) {
        case ANSWER_BOOL:
                return json_is_boolean(value);
        case ANSWER_INTEGER:
                return json_is_integer(value);
        case ANSWER_NUMBER:
                return json_is_number(value);
        case ANSWER_TEXT:
                return json_is_string(value);
        case ANSWER_OBJECT:
                return object_fits(value, members);
        case ANSWER_TEXTS:
                return array_fits(value, ANSWER_TEXT, NULL);
        case ANSWER_INTEGERS:
                return array_fits(value, ANSWER_INTEGER, NULL);
        case ANSWER_OBJECTS:
                return array_fits(value, ANSWER_OBJECT, members);
        }
        return false;
}

static bool array_fits(json_t *array, AnswerType type, const AnswerMember *members) {
        json_t *value;
        size_t i;

        if (!json_is_array(array))
                return false;
        json_array_foreach(array, i, value)
                if (!value_fits(value, type, members))
                        return false;
        return true;
}

static const AnswerMember *find_member(const AnswerMember *members, const char *name) {
        while (members->name && strcmp(members->name, name) != 0)
                members++;
        return members->name ? members : NULL;
}

/* Takes out what is not known. */
static bool object_fits(json_t *object, const AnswerMember *members) {
        const char *name;
        json_t *value;
        void *next;

        if (!json_is_object(object))
                return false;
        json_object_foreach_safe(object, next, name, value) {
                const AnswerMember *member = find_member(members, name);

                if (!member)
                        (void)json_object_del(object, name);
                else if (!(json_is_null(value) && member->nullable) &&
                         !value_fits(value, member->type, member->members))
                        return false;
        }
        for (; members->name; members++)
                if (!members->nullable && !json_object_get(object, members->name))
                        return false;
        return true;
}

int answer_parse(const AnswerMember *members, const char *bytes, size_t n, json_t **ret) {
        static const AnswerMember error_members[] = { { "error", ANSWER_TEXT },
                                                      { "message", ANSWER_TEXT, .nullable = true },
                                                      {} };
        json_t *answer = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, NULL);
        bool is_error = json_object_get(answer, "error") != NULL;

        if (!object_fits(answer, is_error ? error_members : members)) {
                json_decref(answer);
                return ANSWER_E_INVALID;
        }
        *ret = answer;
        return is_error ? ANSWER_E_ERROR : 0;
}
