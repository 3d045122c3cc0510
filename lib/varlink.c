/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/varlink.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define READ_MIN 1024U

void varlink_reader_init(VarlinkReader *r, size_t max) {
        *r = (VarlinkReader){ .max = max };
}

void varlink_reader_done(VarlinkReader *r) {
        free(r->bytes);
        *r = (VarlinkReader){};
}

int varlink_reader_room(VarlinkReader *r, char **ret_bytes, size_t *ret_n) {
        size_t want;

        if (r->n_bytes >= r->max)
                return VARLINK_E_TOO_LARGE;

        if (r->n_bytes == r->n_allocated) {
                char *grown;

                want = r->n_allocated > 0 ? r->n_allocated * 2 : READ_MIN;
                if (want > r->max)
                        want = r->max;
                grown = realloc(r->bytes, want);
                if (!grown)
                        return -ENOMEM;
                r->bytes = grown;
                r->n_allocated = want;
        }

        *ret_bytes = r->bytes + r->n_bytes;
        *ret_n = r->n_allocated - r->n_bytes;
        return 0;
}

void varlink_reader_added(VarlinkReader *r, size_t n) {
        assert(r->n_bytes + n <= r->n_allocated);
        r->n_bytes += n;
}

static void reader_drop(VarlinkReader *r, size_t n) {
        memmove(r->bytes, r->bytes + n, r->n_bytes - n);
        r->n_bytes -= n;
        r->n_scanned = 0;
}

int varlink_reader_next(VarlinkReader *r, json_t **ret) {
        json_t *message;
        const char *end;
        size_t n;

        *ret = NULL;
        if (r->n_scanned == r->n_bytes)
                return 0;
        end = memchr(r->bytes + r->n_scanned, '\0', r->n_bytes - r->n_scanned);
        if (!end) {
                r->n_scanned = r->n_bytes;
                return 0;
        }

        n = (size_t)(end - r->bytes);
        message = json_loadb(r->bytes, n, JSON_REJECT_DUPLICATES, NULL);
        reader_drop(r, n + 1);
        if (!json_is_object(message)) {
                json_decref(message);
                return VARLINK_E_INVALID;
        }

        *ret = message;
        return 0;
}

const char *varlink_reader_rest(const VarlinkReader *r, size_t *ret_n) {
        *ret_n = r->n_bytes;
        return r->bytes;
}

static bool get_flag(json_t *message, const char *key, bool *ret) {
        json_t *value = json_object_get(message, key);

        if (value && !json_is_boolean(value) && !json_is_null(value))
                return false;
        *ret = json_is_true(value);
        return true;
}

static bool get_parameters(json_t *message, json_t **ret) {
        json_t *value = json_object_get(message, "parameters");

        if (json_is_null(value))
                value = NULL;
        if (value && !json_is_object(value))
                return false;
        *ret = value;
        return true;
}

int varlink_call_parse(json_t *message, VarlinkCall *ret) {
        VarlinkCall call = { .method = json_string_value(json_object_get(message, "method")) };

        if (!call.method || !get_parameters(message, &call.parameters) ||
            !get_flag(message, "more", &call.more) || !get_flag(message, "oneway", &call.oneway) ||
            !get_flag(message, "upgrade", &call.upgrade))
                return VARLINK_E_INVALID;

        *ret = call;
        return 0;
}

int varlink_reply_parse(json_t *message, VarlinkReply *ret) {
        json_t *error = json_object_get(message, "error");
        VarlinkReply reply = { .error = json_string_value(error) };

        if ((error && !reply.error) || !get_parameters(message, &reply.parameters) ||
            !get_flag(message, "continues", &reply.continues))
                return VARLINK_E_INVALID;

        *ret = reply;
        return 0;
}

int varlink_encode_consume(json_t *message, char **ret, size_t *ret_n) {
        char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;

        json_decref(message);
        if (!text)
                return -ENOMEM;

        *ret = text;
        *ret_n = strlen(text) + 1;
        return 0;
}

json_t *varlink_call_new(const char *method, json_t *parameters, bool more, bool upgrade) {
        json_t *call = json_pack("{s:s, s:o*}", "method", method, "parameters", parameters);

        if (call && more)
                (void)json_object_set_new(call, "more", json_true());
        if (call && upgrade)
                (void)json_object_set_new(call, "upgrade", json_true());
        return call;
}

json_t *varlink_reply_new(json_t *parameters, bool continues) {
        json_t *reply = json_pack("{s:o}", "parameters", parameters ? parameters : json_object());

        if (reply && continues)
                (void)json_object_set_new(reply, "continues", json_true());
        return reply;
}

json_t *varlink_error_new(const char *error, json_t *parameters) {
        return json_pack("{s:s, s:o}", "error", error, "parameters", parameters ? parameters : json_object());
}
