/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What a stranger may send to the control socket: bytes, cut anywhere. The first byte of an input
 * says into pieces of what size the rest is cut. Whatever comes out must survive being written
 * and read again.
 */

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/varlink.h"

#define MESSAGE_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_again(json_t *message) {
        VarlinkReader reader;
        json_t *again = NULL;
        char *bytes, *room;
        size_t n, n_room;

        if (varlink_encode_consume(json_incref(message), &bytes, &n) < 0)
                return;
        assert(n > 0 && bytes[n - 1] == '\0' && strlen(bytes) == n - 1);

        /* Escapes make it longer than what it came from. */
        varlink_reader_init(&reader, 16 * MESSAGE_MAX);
        for (size_t at = 0; at < n; at += n_room) {
                assert(varlink_reader_room(&reader, &room, &n_room) == 0 && n_room > 0);
                n_room = n - at < n_room ? n - at : n_room;
                memcpy(room, bytes + at, n_room);
                varlink_reader_added(&reader, n_room);
        }
        assert(varlink_reader_next(&reader, &again) == 0);
        assert(again && json_equal(again, message));
        json_decref(again);
        varlink_reader_done(&reader);
        free(bytes);
}

static void take(json_t *message) {
        VarlinkReply reply;
        VarlinkCall call;

        if (varlink_call_parse(message, &call) == 0)
                assert(call.method);
        (void)varlink_reply_parse(message, &reply);
        read_again(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        VarlinkReader reader;
        size_t piece, n_room, n_rest;
        json_t *message;
        char *room;
        int invalid;

        if (size < 1)
                return 0;
        piece = data[0] ? data[0] : MESSAGE_MAX;
        data++, size--;

        varlink_reader_init(&reader, MESSAGE_MAX);
        while (size > 0 && varlink_reader_room(&reader, &room, &n_room) == 0) {
                size_t n = piece < n_room ? piece : n_room;

                n = n < size ? n : size;
                memcpy(room, data, n);
                varlink_reader_added(&reader, n);
                data += n, size -= n;
                do {
                        invalid = varlink_reader_next(&reader, &message);
                        if (message)
                                take(message);
                        json_decref(message);
                } while (message || invalid != 0); /* the next one may be good */
        }
        (void)varlink_reader_rest(&reader, &n_rest);
        assert(n_rest <= MESSAGE_MAX);
        varlink_reader_done(&reader);
        return 0;
}
