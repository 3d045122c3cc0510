/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/record.h"

/* What record_fields() said. */
typedef struct Collected {
        struct {
                char name[40];
                char data[RECORD_DATA_MAX + 1];
                size_t n;
        } fields[40];
        size_t n_fields;
} Collected;

static int collect(const char *name, const void *data, size_t n, void *userdata) {
        Collected *c = userdata;

        assert_true(c->n_fields < sizeof(c->fields) / sizeof(*c->fields));
        assert_true(strlen(name) < sizeof(c->fields->name));
        assert_true(n < sizeof(c->fields->data));
        strcpy(c->fields[c->n_fields].name, name);
        if (n > 0)
                memcpy(c->fields[c->n_fields].data, data, n);
        c->fields[c->n_fields].data[n] = '\0';
        c->fields[c->n_fields++].n = n;
        return 0;
}

static Collected *walk(Collected *c, const Record *record) {
        c->n_fields = 0;
        assert_int_equal(record_fields(record, collect, c), 0);
        return c;
}

static const char *get(const Collected *c, const char *name) {
        const char *found = NULL;

        for (size_t i = 0; i < c->n_fields; i++)
                if (strcmp(c->fields[i].name, name) == 0) {
                        assert_null(found); /* once at most */
                        found = c->fields[i].data;
                }
        return found;
}

/* Exactly these fields, "NAME=VALUE" or just "NAME", besides MESSAGE. */
static void assert_fields(const Collected *c, const char *const *expected) {
        size_t n = 0;

        for (; expected[n]; n++) {
                const char *equals = strchr(expected[n], '='), *value;
                char name[40];

                (void)snprintf(name, sizeof(name), "%.*s",
                               equals ? (int)(equals - expected[n]) : (int)strlen(expected[n]), expected[n]);
                value = get(c, name);
                if (!value)
                        fail_msg("%s is missing", name);
                if (equals)
                        assert_string_equal(value, equals + 1);
        }
        assert_non_null(get(c, "MESSAGE"));
        assert_int_equal(c->n_fields, n + 1);
}

#define assert_all_fields(c, ...) assert_fields(c, (const char *const[]){ __VA_ARGS__, NULL })

#define IN_SESSION                                                                                   \
        "MANHOLE_VERSION=1", "MANHOLE_SESSION=0123456789abcdef", "MANHOLE_CLIENT_UID=1000",           \
                "MANHOLE_CLIENT_USER=ann", "MANHOLE_CLIENT_PID=77", "MANHOLE_TARGET_PID=4242",        \
                "MANHOLE_TARGET_UID=33", "MANHOLE_TARGET_COMM=gunicorn", "MANHOLE_TARGET_UNIT=web.service"

static RecordParties parties_of_session(void) {
        return (RecordParties){ .session = "0123456789abcdef", .client_uid = 1000, .client_user = "ann",
                                .client_pid = 77, .target_pid = 4242, .target_uid = 33,
                                .target_comm = "gunicorn", .target_unit = "web.service" };
}

static void a_start_says_who_whom_and_why(void **state) {
        RecordParties parties = parties_of_session();
        Collected c;

        walk(&c, &(Record){ .event = RECORD_START, .parties = &parties, .usec = 3, .reason = "ticket 5" });
        assert_all_fields(&c, IN_SESSION, "MESSAGE_ID=029ba6fe313e48319210947b4153b16a", "PRIORITY=5",
                          "MANHOLE_EVENT=start", "MANHOLE_SEQ=0", "MANHOLE_USEC=3", "OBJECT_PID=4242",
                          "MANHOLE_REASON=ticket 5");
        assert_string_equal(get(&c, "MESSAGE"),
                            "Session 0123456789abcdef: ann (uid 1000) opened a console in gunicorn[4242].");

        walk(&c, &(Record){ .event = RECORD_START, .parties = &parties, .recording = "required", .records = "" });
        assert_null(get(&c, "MANHOLE_REASON"));
        assert_string_equal(get(&c, "MANHOLE_RECORDING"), "required");
        assert_string_equal(get(&c, "MANHOLE_RECORDS"), "");
}

static void where_a_client_comes_from_is_told_once(void **state) {
        static const RecordOrigin origin = { .login_uid = 1001, .audit_session = 7, .tty = "pts/3", .comm = "ssh",
                                             .command = "manholectl attach 5" };
        static const RecordOrigin unknown = { .login_uid = RECORD_ID_UNSET, .audit_session = RECORD_ID_UNSET };
        RecordParties parties = parties_of_session();
        RecordActor actor = { .user = "ann", .origin = &origin };
        Collected c;

        parties.client_origin = &origin;
        walk(&c, &(Record){ .event = RECORD_START, .parties = &parties });
        assert_all_fields(&c, IN_SESSION, "MESSAGE_ID", "PRIORITY", "MANHOLE_EVENT=start", "MANHOLE_SEQ=0",
                          "MANHOLE_USEC=0", "OBJECT_PID=4242", "MANHOLE_CLIENT_LOGINUID=1001",
                          "MANHOLE_CLIENT_AUDIT_SESSION=7", "MANHOLE_CLIENT_TTY=pts/3", "MANHOLE_CLIENT_COMM=ssh",
                          "MANHOLE_CLIENT_COMMAND=manholectl attach 5");
        walk(&c, &(Record){ .event = RECORD_DENIED, .parties = &parties, .reason = "no" });
        assert_string_equal(get(&c, "MANHOLE_CLIENT_LOGINUID"), "1001");
        walk(&c, &(Record){ .event = RECORD_INPUT, .parties = &parties });
        assert_null(get(&c, "MANHOLE_CLIENT_LOGINUID"));

        walk(&c, &(Record){ .event = RECORD_RESUME, .parties = &parties, .actor = &actor });
        assert_string_equal(get(&c, "MANHOLE_ACTOR_LOGINUID"), "1001");
        assert_string_equal(get(&c, "MANHOLE_ACTOR_TTY"), "pts/3");
        assert_null(get(&c, "MANHOLE_CLIENT_TTY"));
        walk(&c, &(Record){ .event = RECORD_UNWATCH, .parties = &parties, .actor = &actor });
        assert_null(get(&c, "MANHOLE_ACTOR_LOGINUID"));

        parties.client_origin = &unknown;
        walk(&c, &(Record){ .event = RECORD_START, .parties = &parties });
        assert_all_fields(&c, IN_SESSION, "MESSAGE_ID", "PRIORITY", "MANHOLE_EVENT=start", "MANHOLE_SEQ=0",
                          "MANHOLE_USEC=0", "OBJECT_PID=4242");
}

static void input_and_output_carry_data_and_its_place(void **state) {
        RecordParties parties = parties_of_session();
        Collected c;

        walk(&c, &(Record){ .event = RECORD_INPUT, .parties = &parties, .seq = 9, .usec = 5, .position = 70,
                            .data = "1+1\n", .n_data = 4 });
        assert_all_fields(&c, IN_SESSION, "MESSAGE_ID=a87532b988e44521a4ff28cd736cd199", "PRIORITY=5",
                          "MANHOLE_EVENT=input", "MANHOLE_SEQ=9", "MANHOLE_USEC=5", "MANHOLE_POS=70",
                          "MANHOLE_DATA=1+1\n", "OBJECT_PID=4242");
        assert_string_equal(get(&c, "MESSAGE"), "Session 0123456789abcdef: ann (uid 1000) sent input: 1+1\\n");

        walk(&c, &(Record){ .event = RECORD_OUTPUT, .parties = &parties, .seq = UINT64_MAX, .usec = UINT64_MAX,
                            .position = UINT64_MAX, .frame = "prompt", .data = ">>> ", .n_data = 4 });
        assert_all_fields(&c, IN_SESSION, "MESSAGE_ID=bcd1fd08f095461ebcf797fe88719784", "PRIORITY=7",
                          "MANHOLE_EVENT=output", "MANHOLE_SEQ=18446744073709551615",
                          "MANHOLE_USEC=18446744073709551615", "MANHOLE_POS=18446744073709551615",
                          "MANHOLE_FRAME=prompt", "MANHOLE_DATA=>>> ", "OBJECT_PID=4242");
        /* It may hold secrets: it stands in MANHOLE_DATA alone. */
        assert_null(strstr(get(&c, "MESSAGE"), ">>>"));

        walk(&c, &(Record){ .event = RECORD_DROPPED, .parties = &parties, .frame = "dropped",
                            .data = "{\"bytes\":7}", .n_data = 11 });
        assert_all_fields(&c, IN_SESSION, "MESSAGE_ID=459deebb21cd45c6b99f0cb9a317ce04", "PRIORITY=5",
                          "MANHOLE_EVENT=dropped", "MANHOLE_SEQ=0", "MANHOLE_USEC=0", "MANHOLE_POS=0",
                          "MANHOLE_FRAME=dropped", "MANHOLE_DATA={\"bytes\":7}", "OBJECT_PID=4242");
}

static void an_empty_request_is_recorded_with_empty_data(void **state) {
        RecordParties parties = parties_of_session();
        Collected c;

        walk(&c, &(Record){ .event = RECORD_INPUT, .parties = &parties, .frame = "interrupt" });
        assert_string_equal(get(&c, "MANHOLE_DATA"), "");
        assert_string_equal(get(&c, "MANHOLE_FRAME"), "interrupt");
        assert_non_null(strstr(get(&c, "MESSAGE"), "sent interrupt"));
}

static void an_end_carries_the_totals(void **state) {
        RecordParties parties = parties_of_session();
        Collected c;

        walk(&c, &(Record){ .event = RECORD_END, .parties = &parties, .seq = 2, .reason = "closed by the client",
                            .input_bytes = 1, .output_bytes = 2, .input_records = 3, .output_records = 4 });
        assert_all_fields(&c, IN_SESSION, "MESSAGE_ID=cac2a841cf904c99a620da9496278041", "PRIORITY=5",
                          "MANHOLE_EVENT=end", "MANHOLE_SEQ=2", "MANHOLE_USEC=0", "OBJECT_PID=4242",
                          "OBJECT_SYSTEMD_UNIT=web.service",
                          "MANHOLE_INPUT_BYTES=1", "MANHOLE_OUTPUT_BYTES=2", "MANHOLE_INPUT_RECORDS=3",
                          "MANHOLE_OUTPUT_RECORDS=4", "MANHOLE_REASON=closed by the client");
        walk(&c, &(Record){ .event = RECORD_END, .parties = &parties, .reason = "x", .lost = 5 });
        assert_string_equal(get(&c, "MANHOLE_LOST"), "5");
}

static void who_watches_or_is_back_is_named_beside_the_client(void **state) {
        RecordParties parties = parties_of_session();
        RecordActor actor = { .uid = 0, .user = "ro\not", .pid = 5 };
        Collected c;

        walk(&c, &(Record){ .event = RECORD_WATCH, .parties = &parties, .seq = 3, .actor = &actor });
        assert_string_equal(get(&c, "MANHOLE_CLIENT_UID"), "1000");
        assert_string_equal(get(&c, "MANHOLE_ACTOR_UID"), "0");
        assert_string_equal(get(&c, "MANHOLE_ACTOR_USER"), "ro\not");
        assert_string_equal(get(&c, "MANHOLE_ACTOR_PID"), "5");
        assert_string_equal(get(&c, "MANHOLE_SEQ"), "3");
        assert_null(get(&c, "MANHOLE_MISSED"));
        assert_string_equal(get(&c, "MESSAGE"), "Session 0123456789abcdef of ann (uid 1000) in gunicorn[4242] is "
                                                "watched by ro\\not (uid 0).");

        walk(&c, &(Record){ .event = RECORD_RESUME, .parties = &parties, .actor = &actor, .missed = 9 });
        assert_string_equal(get(&c, "MANHOLE_MISSED"), "9");
        walk(&c, &(Record){ .event = RECORD_LINGER, .parties = &parties });
        assert_null(get(&c, "MANHOLE_ACTOR_UID"));
        assert_null(get(&c, "MANHOLE_MISSED"));
}

static void a_target_that_is_gone_is_named_by_its_unit(void **state) {
        RecordParties parties = parties_of_session();
        Collected c;

        parties.target_gone = true;
        walk(&c, &(Record){ .event = RECORD_END, .parties = &parties, .reason = "closed by the target" });
        assert_null(get(&c, "OBJECT_PID"));
        assert_string_equal(get(&c, "OBJECT_SYSTEMD_UNIT"), "web.service");

        parties.target_unit = NULL;
        walk(&c, &(Record){ .event = RECORD_END, .parties = &parties, .reason = "closed by the target" });
        assert_null(get(&c, "OBJECT_PID"));
        assert_null(get(&c, "OBJECT_SYSTEMD_UNIT"));
        assert_null(get(&c, "MANHOLE_TARGET_UNIT"));
}

static void what_is_outside_a_session_has_none_of_its_fields(void **state) {
        RecordParties parties = { .client_uid = 0, .client_user = "root", .client_pid = 1, .target_pid = 5,
                                  .target_uid = 1001, .target_comm = "app" };
        Collected c;

        walk(&c, &(Record){ .event = RECORD_DENIED, .parties = &parties, .reason = "no", .socket = "/tmp/manhole-5" });
        assert_all_fields(&c, "MESSAGE_ID=6a4ff6c1cd9749b7b8b44d0f73a1f8b2", "PRIORITY=4", "MANHOLE_EVENT=denied",
                          "MANHOLE_VERSION=1", "MANHOLE_CLIENT_UID=0", "MANHOLE_CLIENT_USER=root",
                          "MANHOLE_CLIENT_PID=1", "MANHOLE_TARGET_PID=5", "MANHOLE_TARGET_UID=1001",
                          "MANHOLE_TARGET_COMM=app", "OBJECT_PID=5", "MANHOLE_REASON=no",
                          "MANHOLE_SOCKET=/tmp/manhole-5");
        assert_string_equal(get(&c, "MESSAGE"), "Refused root (uid 0) a console in app[5]: no");
}

static void nobody_asked_for_a_stale_socket_to_be_removed(void **state) {
        RecordParties parties = { .target_pid = 5, .target_uid = 7, .target_gone = true };
        Collected c;

        walk(&c, &(Record){ .event = RECORD_STALE, .parties = &parties, .socket = "/tmp/manhole-5", .removed = true });
        assert_all_fields(&c, "MESSAGE_ID=1b15d028ca084bd3a871a2819d45935b", "PRIORITY=6", "MANHOLE_EVENT=stale",
                          "MANHOLE_VERSION=1", "MANHOLE_TARGET_PID=5", "MANHOLE_TARGET_UID=7",
                          "MANHOLE_SOCKET=/tmp/manhole-5", "MANHOLE_REMOVED=yes");
        assert_string_equal(get(&c, "MESSAGE"), "Removed stale socket /tmp/manhole-5.");
        walk(&c, &(Record){ .event = RECORD_STALE, .parties = &parties, .socket = "/tmp/manhole-5" });
        assert_string_equal(get(&c, "MANHOLE_REMOVED"), "no");
        assert_string_equal(get(&c, "MESSAGE"), "Found stale socket /tmp/manhole-5, and left it.");
}

static void a_client_whose_pid_the_kernel_cannot_name_is_recorded_by_its_uid(void **state) {
        RecordParties parties = parties_of_session();
        Collected c;

        /* SO_PEERCRED gives pid 0 for a client of a pid namespace that is not below ours. */
        parties.client_pid = 0;
        walk(&c, &(Record){ .event = RECORD_START, .parties = &parties });
        assert_string_equal(get(&c, "MANHOLE_CLIENT_UID"), "1000");
        assert_string_equal(get(&c, "MANHOLE_CLIENT_USER"), "ann");
        assert_string_equal(get(&c, "MANHOLE_CLIENT_PID"), "0");
        parties.session = NULL;
        walk(&c, &(Record){ .event = RECORD_DENIED, .parties = &parties, .reason = "no", .socket = "/x" });
        assert_string_equal(get(&c, "MANHOLE_CLIENT_UID"), "1000");
}

static void assert_one_printable_line(const char *text) {
        for (; *text; text++)
                assert_true((unsigned char)*text >= ' ' && *text != 0x7f);
}

static void no_peer_can_forge_a_line_of_its_own(void **state) {
        static const char evil[] = "x\nMANHOLE_EVENT=end\r\x1b[2J\x7f";
        RecordParties parties = parties_of_session();
        Collected c;

        parties.target_comm = evil;
        parties.client_user = evil;
        for (unsigned event = 0; event < _RECORD_EVENT_MAX; event++) {
                walk(&c, &(Record){ .event = event, .parties = &parties, .reason = evil, .socket = evil,
                                    .data = evil, .n_data = strlen(evil) });
                assert_one_printable_line(get(&c, "MESSAGE"));
                /* The exact bytes stay in fields of their own, which have a length. */
                assert_string_equal(get(&c, "MANHOLE_REASON"), evil);
        }
}

static void long_data_fits_and_every_byte_is_kept(void **state) {
        RecordParties parties = parties_of_session();
        char data[RECORD_DATA_MAX];
        Collected c;

        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (char)(i * 7);
        for (unsigned event = RECORD_INPUT; event <= RECORD_DROPPED; event++) {
                walk(&c, &(Record){ .event = event, .parties = &parties, .data = data, .n_data = sizeof(data) });
                for (size_t i = 0; i < c.n_fields; i++)
                        if (strcmp(c.fields[i].name, "MANHOLE_DATA") == 0) {
                                assert_int_equal(c.fields[i].n, sizeof(data));
                                assert_memory_equal(c.fields[i].data, data, sizeof(data));
                        }
                assert_one_printable_line(get(&c, "MESSAGE"));
        }
}

static void long_names_leave_the_message_whole(void **state) {
        RecordParties parties = parties_of_session();
        char user[300], reason[3000];
        const char *message;
        Collected c;

        /* Characters of two bytes: none may be cut in half. */
        for (size_t i = 0; i + 1 < sizeof(user); i += 2)
                memcpy(user + i, "\xc3\xa4", 2);
        user[sizeof(user) - 2] = '\0';
        user[0] = 'x', user[1] = 'y', user[2] = 'z';
        memmove(user + 3, user + 4, sizeof(user) - 5);
        memset(reason, '\x01', sizeof(reason) - 1);
        reason[sizeof(reason) - 1] = '\0';
        parties.client_user = user;
        parties.target_comm = user;
        for (unsigned event = 0; event < _RECORD_EVENT_MAX; event++) {
                walk(&c, &(Record){ .event = event, .parties = &parties, .reason = reason, .socket = reason,
                                    .data = reason, .n_data = sizeof(reason) - 1 });
                message = get(&c, "MESSAGE");
                for (size_t at = 0, n = strlen(message); at < n;) {
                        size_t one = (unsigned char)message[at] < 0x80 ? 1 : (unsigned char)message[at] < 0xe0 ? 2 : 3;

                        for (size_t i = 1; i < one; i++)
                                assert_int_equal((unsigned char)message[at + i] & 0xc0, 0x80);
                        at += one;
                }
        }
}

static int refuse_third(const char *name, const void *data, size_t n, void *userdata) {
        unsigned *calls = userdata;

        return ++*calls == 3 ? -ENOSPC : 0;
}

static void an_error_ends_the_walk(void **state) {
        RecordParties parties = parties_of_session();
        unsigned calls = 0;

        assert_int_equal(record_fields(&(Record){ .event = RECORD_START, .parties = &parties }, refuse_third, &calls),
                         -ENOSPC);
        assert_int_equal(calls, 3);
}

static void every_event_has_a_name_and_an_id_of_its_own(void **state) {
        for (unsigned a = 0; a < _RECORD_EVENT_MAX; a++) {
                assert_true(*record_event_name(a));
                assert_false(sd_id128_is_null(record_message_id(a)));
                for (unsigned b = 0; b < a; b++) {
                        assert_false(sd_id128_equal(record_message_id(a), record_message_id(b)));
                        assert_string_not_equal(record_event_name(a), record_event_name(b));
                }
        }
}

static bool file_has(const char *path, const char *text) {
        static char content[65536];
        FILE *f = fopen(path, "re");
        size_t n;

        if (!f)
                return false;
        n = fread(content, 1, sizeof(content) - 1, f);
        content[n] = '\0';
        (void)fclose(f);
        return strstr(content, text);
}

static void the_page_and_the_catalog_have_the_same_ids(void **state) {
        const char *source = getenv("MANHOLED_SRCDIR");
        char page[4096], catalog[4096], id[SD_ID128_STRING_MAX], text[64];

        if (!source) {
                print_message("# skipped: MANHOLED_SRCDIR does not say where the sources are\n");
                skip();
        }
        (void)snprintf(page, sizeof(page), "%s/docs/RECORD.md", source);
        (void)snprintf(catalog, sizeof(catalog), "%s/systemd/manholed.catalog", source);
        for (unsigned event = 0; event < _RECORD_EVENT_MAX; event++) {
                (void)sd_id128_to_string(record_message_id(event), id);
                (void)snprintf(text, sizeof(text), "| `%s` | `%s` |", record_event_name(event), id);
                assert_true(file_has(page, text));
                (void)snprintf(text, sizeof(text), "\n-- %s\n", id);
                assert_true(file_has(catalog, text));
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_start_says_who_whom_and_why),
                cmocka_unit_test(where_a_client_comes_from_is_told_once),
                cmocka_unit_test(input_and_output_carry_data_and_its_place),
                cmocka_unit_test(an_empty_request_is_recorded_with_empty_data),
                cmocka_unit_test(an_end_carries_the_totals),
                cmocka_unit_test(who_watches_or_is_back_is_named_beside_the_client),
                cmocka_unit_test(a_target_that_is_gone_is_named_by_its_unit),
                cmocka_unit_test(what_is_outside_a_session_has_none_of_its_fields),
                cmocka_unit_test(nobody_asked_for_a_stale_socket_to_be_removed),
                cmocka_unit_test(a_client_whose_pid_the_kernel_cannot_name_is_recorded_by_its_uid),
                cmocka_unit_test(no_peer_can_forge_a_line_of_its_own),
                cmocka_unit_test(long_data_fits_and_every_byte_is_kept),
                cmocka_unit_test(long_names_leave_the_message_whole),
                cmocka_unit_test(an_error_ends_the_walk),
                cmocka_unit_test(every_event_has_a_name_and_an_id_of_its_own),
                cmocka_unit_test(the_page_and_the_catalog_have_the_same_ids),
        };

        return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
