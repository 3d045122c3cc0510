/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Varlink messages (https://varlink.org/Method-Call): JSON objects, each ended by a NUL byte.
 * Pure: no descriptor. A VarlinkReader collects bytes and yields messages; the rest builds and
 * takes them apart. JSON values are jansson's and reference counted.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum {
        _VARLINK_E_SUCCESS,
        VARLINK_E_TOO_LARGE, /* a message exceeds the reader's cap */
        VARLINK_E_INVALID,   /* not JSON, not an object, or a member of the wrong type */
};

typedef struct VarlinkReader {
        char *bytes; /* owned */
        size_t n_bytes, n_allocated, n_scanned;
        size_t max; /* of one message, with its NUL */
} VarlinkReader;

void varlink_reader_init(VarlinkReader *r, size_t max);
void varlink_reader_done(VarlinkReader *r);

/* Room to read into, at least one byte: 0, -ENOMEM, or VARLINK_E_TOO_LARGE when the message that
 * has begun can no longer end within the cap. Then tell with varlink_reader_added(). */
int varlink_reader_room(VarlinkReader *r, char **ret_bytes, size_t *ret_n);
void varlink_reader_added(VarlinkReader *r, size_t n);

/* The next message in *ret (the caller owns a reference), or NULL in it when more bytes are
 * needed. 0 or VARLINK_E_INVALID; the offending message is dropped. */
int varlink_reader_next(VarlinkReader *r, json_t **ret);

/* What came behind the messages taken so far: after an upgrade these are raw bytes. */
const char *varlink_reader_rest(const VarlinkReader *r, size_t *ret_n);

typedef struct VarlinkCall {
        const char *method;  /* borrowed from the message */
        json_t *parameters;  /* borrowed; NULL when there are none */
        bool more, oneway, upgrade;
} VarlinkCall;

/* Takes a call apart. 0 or VARLINK_E_INVALID. The message must outlive @ret. */
int varlink_call_parse(json_t *message, VarlinkCall *ret);

typedef struct VarlinkReply {
        const char *error;  /* borrowed; NULL on success */
        json_t *parameters; /* borrowed; may be NULL */
        bool continues;
} VarlinkReply;

int varlink_reply_parse(json_t *message, VarlinkReply *ret);

/* Serialises and ends with NUL; *ret_n counts it. 0 or -ENOMEM. The caller frees *ret. Takes over
 * the reference to @message in any case. */
int varlink_encode_consume(json_t *message, char **ret, size_t *ret_n);

/* Messages; each takes over the reference to @parameters (may be NULL). NULL means out of memory. */
json_t *varlink_call_new(const char *method, json_t *parameters, bool more, bool upgrade);
json_t *varlink_reply_new(json_t *parameters, bool continues);
json_t *varlink_error_new(const char *error, json_t *parameters);
