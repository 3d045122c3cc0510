/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/session.h"

#include <stdlib.h>
#include <string.h>

#include "cli/connection.h"
#include "cli/exit-status.h"
#include "cli/json-print.h"
#include "cli/message.h"
#include "cli/target.h"
#include "lib/cleanup.h"

void session_done(Session *s) {
        channel_done(&s->channel);
        json_decref(s->target);
        json_decref(s->others);
        free(s->id);
        free(s->recording);
        *s = SESSION_INIT;
}

static char *text_or_empty(json_t *reply, const char *key) {
        const char *text = json_string_value(json_object_get(reply, key));
        char *copy = strdup(text ? text : "");

        if (!copy)
                message_out_of_memory();
        return copy;
}

/* Calls a method that upgrades, and takes what all of them answer. Takes over @parameters; on EXIT_DONE
 * the caller owns a reference to *ret_reply. */
static int upgrade(Session *s, const char *control, const char *method, json_t *parameters,
                   uint64_t deadline, json_t **ret_reply) {
        _cleanup_(connection_done) Connection connection = CONNECTION_INIT;
        json_t *reply = NULL;
        const char *rest;
        size_t n_rest;
        bool framed;
        int r;

        r = connection_open(&connection, control);
        if (r != EXIT_DONE) {
                json_decref(parameters);
                return r;
        }
        r = connection_upgrade(&connection, method, parameters, deadline, &reply);
        if (r != EXIT_DONE)
                return r;

        framed = json_is_true(json_object_get(reply, "framed"));
        rest = varlink_reader_rest(&connection.reader, &n_rest);
        channel_init_consume(&s->channel, TAKE_FD(connection.fd), framed, rest, n_rest);
        s->others = json_incref(json_object_get(reply, "others"));
        s->recording = text_or_empty(reply, "recording");
        *ret_reply = reply;
        return EXIT_DONE;
}

int session_open(Session *s, const char *control, const char *target, const char *reason, bool linger,
                 uint64_t deadline) {
        json_t *parameters = target_parameters(target), *reply;
        int r;

        (void)json_object_set_new(parameters, "framed", json_true());
        if (linger)
                (void)json_object_set_new(parameters, "linger", json_true());
        if (reason)
                (void)json_object_set_new(parameters, "reason", json_bytes(reason, strlen(reason)));
        r = upgrade(s, control, "Attach", parameters, deadline, &reply);
        if (r != EXIT_DONE)
                return r;
        s->target = json_incref(json_object_get(reply, "target"));
        s->id = text_or_empty(reply, "session");
        s->pid = target_pid(s->target);
        json_decref(reply);
        return EXIT_DONE;
}

int session_resume(Session *s, const char *control, const char *id, uint64_t deadline) {
        json_t *parameters = json_pack("{s:o}", "session", json_bytes(id, strlen(id))), *reply;
        int r = upgrade(s, control, "Resume", parameters, deadline, &reply);

        if (r != EXIT_DONE)
                return r;
        s->target = json_incref(json_object_get(reply, "session"));
        s->id = text_or_empty(s->target, "session");
        s->pid = target_pid(s->target);
        s->request = (uint32_t)json_integer_value(json_object_get(reply, "request"));
        s->missed = (uint64_t)json_integer_value(json_object_get(reply, "missed"));
        json_decref(reply);
        return EXIT_DONE;
}
