/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/target.h"

#include <stdio.h>
#include <string.h>

#include "cli/buffer.h"
#include "cli/json-print.h"
#include "cli/message.h"
#include "lib/cleanup.h"

json_t *target_parameters(const char *word) {
        json_t *parameters = json_pack("{s:o}", "target", json_bytes(word, strlen(word)));

        if (!parameters)
                message_out_of_memory();
        return parameters;
}

pid_t target_pid(json_t *target) {
        return (pid_t)json_integer_value(json_object_get(target, "pid"));
}

char *target_text_of(json_t *value) {
        const char *text = json_string_value(value);
        char *number;

        if (!json_is_integer(value))
                return escape_new(text && *text ? text : "-");
        if (asprintf(&number, "%lld", (long long)json_integer_value(value)) < 0)
                message_out_of_memory();
        return number;
}

char *target_text(json_t *target, const char *key) {
        return target_text_of(json_object_get(target, key));
}

char *target_user(json_t *target) {
        return target_text(target, json_is_string(json_object_get(target, "user")) ? "user" : "uid");
}

char *target_command(json_t *target) {
        const char *command = json_string_value(json_object_get(target, "command"));
        _cleanup_free_ char *comm = NULL;
        char *text;

        if (command && *command)
                return escape_new(command);
        comm = target_text(target, "comm");
        if (asprintf(&text, "[%s]", comm) < 0)
                message_out_of_memory();
        return text;
}
