/* SPDX-License-Identifier: BSD-2-Clause */

/* The module is compiled for this program with "etc" as its folder of configuration. */

#include "tests/unit/test.h"

#include <errno.h>
#include <syslog.h>

#include "daemon/config.h"
#include "tests/unit/scratch.h"

static void assert_reads(Config *c, const char *text) {
        IniError error = {};
        int r;

        config_init(c);
        r = config_parse(c, "test.conf", text, &error);
        if (r != 0)
                fail_msg("%s: %s", text, error.text);
}

static void assert_bad_line(const char *text, unsigned line) {
        IniError error = {};
        char place[32];
        Config c;

        config_init(&c);
        assert_int_equal(config_parse(&c, "test.conf", text, &error), -EBADMSG);
        (void)snprintf(place, sizeof(place), "test.conf:%u: ", line);
        if (strncmp(error.text, place, strlen(place)) != 0)
                fail_msg("%s: %s", text, error.text);
        assert_true(strlen(error.text) > strlen(place));
        config_done(&c);
}

static void without_a_line_everything_has_its_default(void **state) {
        Config c;

        assert_reads(&c, "");
        assert_null(c.record);
        assert_int_equal(c.n_scan, 0);
        assert_true(c.connections_per_user > 0);
        assert_true(c.sessions_per_user > 0);
        assert_true(c.targets_per_user > 10000);
        assert_true(c.session_limits.linger_usec == 30000000);
        assert_true(c.session_limits.idle_usec == 0);
        assert_true(c.session_limits.max_usec == 0);
        assert_int_equal(c.remove_stale, REMOVE_STALE_YES);
        assert_false(c.require_reason);
        assert_int_equal(c.recorder_rules.mode, RECORDER_REQUIRED);
        assert_false(c.recorder_rules.omit_input);
        assert_false(c.recorder_rules.omit_output);
        assert_true(c.recorder_rules.session_bytes_max == 512ULL << 20);
        assert_true(c.recorder_rules.user_day_bytes_max == 1ULL << 30);
        assert_true(c.recorder_rules.retention.usec == 0 && c.recorder_rules.retention.bytes == 0);
        assert_int_equal(c.log_level, -1);
        config_done(&c);
        config_done(&c);
}

static void every_key_is_read(void **state) {
        Config c;

        assert_reads(&c, "[Manholed]\nRecord=file:/var/log/x\nScan=/tmp\nScan=/run/app\n"
                         "ConnectionsPerUser=7\nSessionsPerUser=5\nTargetsPerUser=9\nSessionIdleSec=1h 30min\nSessionMaxSec=90\n"
                         "Recording=best-effort\nRecordInput=no\nRecordOutput=yes\nRecordBytesPerSession=2K\n"
                         "RecordBytesPerUserDay=infinity\nRetainSec=30d\nRetainMax=2G\n"
                         "LingerSec=0\nRemoveStale=report\nRequireReason=yes\nLogLevel=debug\n");
        assert_string_equal(c.record, "file:/var/log/x");
        assert_int_equal(c.n_scan, 2);
        assert_string_equal(c.scan[0], "/tmp");
        assert_string_equal(c.scan[1], "/run/app");
        assert_int_equal(c.connections_per_user, 7);
        assert_int_equal(c.sessions_per_user, 5);
        assert_int_equal(c.targets_per_user, 9);
        assert_true(c.session_limits.idle_usec == 5400000000);
        assert_true(c.session_limits.max_usec == 90000000);
        assert_true(c.session_limits.linger_usec == 0);
        assert_int_equal(c.remove_stale, REMOVE_STALE_REPORT);
        assert_true(c.require_reason);
        assert_int_equal(c.recorder_rules.mode, RECORDER_BEST_EFFORT);
        assert_true(c.recorder_rules.omit_input);
        assert_false(c.recorder_rules.omit_output);
        assert_true(c.recorder_rules.session_bytes_max == 2048);
        assert_true(c.recorder_rules.user_day_bytes_max == 0);
        assert_true(c.recorder_rules.retention.usec == 30 * 86400 * 1000000ULL);
        assert_true(c.recorder_rules.retention.bytes == 2ULL << 30);
        assert_int_equal(c.log_level, LOG_DEBUG);
        config_done(&c);
}

static void infinity_takes_a_limit_back(void **state) {
        Config c;

        assert_reads(&c, "[Manholed]\nSessionIdleSec=5\nSessionMaxSec=5\nSessionIdleSec=infinity\nSessionMaxSec=infinity\n");
        assert_true(c.session_limits.idle_usec == 0);
        assert_true(c.session_limits.max_usec == 0);
        config_done(&c);
}

static void comments_blanks_and_other_line_ends_are_passed_over(void **state) {
        Config c;

        assert_reads(&c, "# first\n\n   ; indented\n\t\n  [Manholed]  \r\n\tScan = /a folder \r\n#Scan=/not\r\n Record=none");
        assert_int_equal(c.n_scan, 1);
        assert_string_equal(c.scan[0], "/a folder");
        assert_string_equal(c.record, "none");
        config_done(&c);
}

static void a_value_may_hold_equals_signs_and_comment_marks(void **state) {
        Config c;

        assert_reads(&c, "[Manholed]\nScan=/a=b#c;d\n");
        assert_string_equal(c.scan[0], "/a=b#c;d");
        config_done(&c);
}

static void later_values_replace_earlier_ones_and_folders_add_up(void **state) {
        IniError error;
        Config c;

        assert_reads(&c, "[Manholed]\nRecord=none\nScan=/a\nLogLevel=err\n[Manholed]\nRecord=journal\nScan=/b\n");
        assert_int_equal(config_parse(&c, "2", "[Manholed]\nScan=/c\nLogLevel=info\n", &error), 0);
        assert_string_equal(c.record, "journal");
        assert_int_equal(c.n_scan, 3);
        assert_string_equal(c.scan[2], "/c");
        assert_int_equal(c.log_level, LOG_INFO);

        /* Each text begins outside of every section. */
        assert_int_equal(config_parse(&c, "3", "Scan=/d\n", &error), -EBADMSG);
        config_done(&c);
}

static void an_empty_scan_forgets_the_folders_so_far(void **state) {
        Config c;

        assert_reads(&c, "[Manholed]\nScan=\nScan=/a\nScan=/b\nScan= \nScan=/c\n");
        assert_int_equal(c.n_scan, 1);
        assert_string_equal(c.scan[0], "/c");
        config_done(&c);

        assert_reads(&c, "[Manholed]\nScan=/a\nScan=\n");
        assert_int_equal(c.n_scan, 0);
        config_done(&c);
}

static void rules_stand_in_the_order_of_their_sections(void **state) {
        IniError error;
        Config c;

        assert_reads(&c, "[Grant \"b\"]\nUser=1\nTargetUser=2\nMode=observe\n[Manholed]\nRecord=none\n"
                         "[Deny \"b\"]\nGroup=3\nUser=4\nUser=\nUnit=x\nExecutable=/y\nMode=*\n");
        assert_int_equal(config_parse(&c, "2", "\n[Grant \"a\"]\nUser=1 5\nTargetUser=*\nMode=watch", &error), 0);
        assert_string_equal(c.record, "none");
        assert_int_equal(c.policy.n_rules, 3);
        assert_string_equal(c.policy.rules[0]->name, "[Grant \"b\"]");
        assert_string_equal(c.policy.rules[1]->name, "[Deny \"b\"]");
        assert_string_equal(c.policy.rules[1]->place, "test.conf:7");
        assert_int_equal(c.policy.rules[1]->users.n, 0);
        assert_int_equal(c.policy.rules[1]->groups.n, 1);
        assert_string_equal(c.policy.rules[2]->place, "2:2");
        assert_true(c.policy.rules[2]->target_users.any);

        /* A rule that lacks something is named by its own line, wherever that is found out. */
        assert_int_equal(config_parse(&c, "3", "\n[Deny \"c\"]\nUser=1\n\n[Manholed]\n", &error), -EBADMSG);
        assert_memory_equal(error.text, "3:2: ", 5);
        config_done(&c);
        assert_bad_line("[Grant \"b\"]\nUser=1\nTargetUser=2\nMode=observe\n\n[Grant \"b\"]\n", 6);
}

static void a_bad_line_is_named_by_its_number(void **state) {
        static const struct {
                const char *text;
                unsigned line;
        } bad[] = {
                { "Record=none", 1 },
                { "[Manholed]\n\n# x\nnonsense", 4 },
                { "[Manholed]\r\n=none\r\n", 2 },
                { "[manholed]", 1 },
                { "[Manholed", 1 },
                { "[Manholed] # no", 1 },
                { "[]\n", 1 },
                { "[Manholed]\n[Other]\nX=1\n", 2 },
                { "[Manholed]\nrecord=none", 2 },
                { "[Manholed]\nRecords=none", 2 },
                { "[Manholed]\nRecor=none", 2 },
                { "[Manholed]\nRecord=", 2 },
                { "[Manholed]\nRecord=None", 2 },
                { "[Manholed]\nRecord=file:", 2 },
                { "[Manholed]\nRecord=file:relative", 2 },
                { "[Manholed]\nRecord=none # comment", 2 },
                { "[Manholed]\nRecord=none\nScan=relative\n", 3 },
                { "[Manholed]\nScan=./a", 2 },
                { "[Manholed]\nScan=~/a", 2 },
                { "[Manholed]\nConnectionsPerUser=", 2 },
                { "[Manholed]\nSessionsPerUser=0", 2 },
                { "[Manholed]\nTargetsPerUser=0", 2 },
                { "[Manholed]\nSessionIdleSec=0", 2 },
                { "[Manholed]\nLingerSec=infinity", 2 },
                { "[Manholed]\nSessionIdleSec=5m", 2 },
                { "[Manholed]\nSessionMaxSec=-1", 2 },
                { "[Manholed]\nSessionMaxSec=never", 2 },
                { "[Manholed]\nConnectionsPerUser=0", 2 },
                { "[Manholed]\nConnectionsPerUser=-1", 2 },
                { "[Manholed]\nConnectionsPerUser=1000001", 2 },
                { "[Manholed]\nConnectionsPerUser=18446744073709551617", 2 },
                { "[Manholed]\nConnectionsPerUser=10 20", 2 },
                { "[Manholed]\nRemoveStale=true", 2 },
                { "[Manholed]\nRecording=", 2 },
                { "[Manholed]\nRecording=none", 2 },
                { "[Manholed]\nRecordInput=maybe", 2 },
                { "[Manholed]\nRecordBytesPerSession=0", 2 },
                { "[Manholed]\nRecordBytesPerUserDay=1g", 2 },
                { "[Manholed]\nRequireReason=", 2 },
                { "[Manholed]\nRetainMax=0", 2 },
                { "[Manholed]\nRetainSec=0", 2 },
                { "[Manholed]\nLogLevel=", 2 },
                { "[Manholed]\nLogLevel=7", 2 },
                { "[Manholed]\nLogLevel=DEBUG", 2 },
                { "\xef\xbb\xbf[Manholed]\n", 1 },
                { "[Manholed]\n\xff\xfe", 2 },
        };

        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
                assert_bad_line(bad[i].text, bad[i].line);
}

static void what_a_bad_value_would_replace_stays(void **state) {
        IniError error;
        Config c;

        assert_reads(&c, "[Manholed]\nRecord=journal\nScan=/a\nConnectionsPerUser=9\nLogLevel=err\n");
        assert_int_equal(config_parse(&c, "2", "[Manholed]\nRecord=x", &error), -EBADMSG);
        assert_int_equal(config_parse(&c, "2", "[Manholed]\nScan=x", &error), -EBADMSG);
        assert_int_equal(config_parse(&c, "2", "[Manholed]\nConnectionsPerUser=x", &error), -EBADMSG);
        assert_int_equal(config_parse(&c, "2", "[Manholed]\nLogLevel=x", &error), -EBADMSG);
        assert_string_equal(c.record, "journal");
        assert_int_equal(c.n_scan, 1);
        assert_int_equal(c.connections_per_user, 9);
        assert_int_equal(c.log_level, LOG_ERR);
        config_done(&c);
}

static void a_long_name_cannot_push_the_line_number_out(void **state) {
        static char text[100000], name[1000];
        IniError error = {};
        Config c;

        config_init(&c);
        memset(name, 'n', sizeof(name) - 1);
        memset(text, 'x', sizeof(text) - 1);
        assert_int_equal(config_parse(&c, name, text, &error), -EBADMSG);
        assert_non_null(strstr(error.text, ":1: "));
        config_done(&c);
}

/* ---------------------------------------------------------------- files */

static void put(const char *path, const char *text) {
        scratch_write(path, text, strlen(text));
}

static void assert_load(const char *file, int expected, const char *wrong) {
        IniError error = {};
        Config c;

        config_init(&c);
        assert_int_equal(config_load(&c, file, &error), expected);
        if (wrong)
                assert_memory_equal(error.text, wrong, strlen(wrong));
        config_done(&c);
}

static void the_standard_files_may_be_absent_but_a_named_one_may_not(void **state) {
        assert_load(NULL, 0, NULL);
        assert_load("missing.conf", -ENOENT, "missing.conf: ");
}

static void files_that_cannot_be_read_are_errors(void **state) {
        static char big[256 * 1024 + 1];

        assert_int_equal(mkdir("folder.conf", 0700), 0);
        assert_load("folder.conf", -EISDIR, "folder.conf: ");
        memset(big, '\n', sizeof(big));
        scratch_write("big.conf", big, sizeof(big));
        assert_load("big.conf", -EFBIG, "big.conf: ");
        scratch_write("most.conf", big, sizeof(big) - 1);
        assert_load("most.conf", 0, NULL);
}

static void a_nul_byte_does_not_hide_what_follows_it(void **state) {
        static const char text[] = "[Manholed]\nRecord=journal\nScan=/a\0\nRecord=none\n";

        scratch_write("nul.conf", text, sizeof(text) - 1);
        assert_load("nul.conf", -EBADMSG, "nul.conf:3: ");
        scratch_write("nul.conf", "\0", 1);
        assert_load("nul.conf", -EBADMSG, "nul.conf:1: ");
}

static void fragments_are_read_after_the_file_in_the_order_of_their_names(void **state) {
        IniError error = {};
        Config c;

        assert_int_equal(mkdir("etc", 0700), 0);
        assert_int_equal(mkdir("etc/manholed.conf.d", 0700), 0);
        put("etc/manholed.conf", "[Manholed]\nScan=/0\nRecord=none\n");
        put("etc/manholed.conf.d/20.conf", "[Manholed]\nScan=/2\n");
        put("etc/manholed.conf.d/10.conf", "[Manholed]\nScan=/1\nRecord=journal\n");
        put("etc/manholed.conf.d/.hidden.conf", "nonsense");
        put("etc/manholed.conf.d/30.conf~", "nonsense");
        put("etc/manholed.conf.d/30.conf.dpkg-old", "nonsense");
        put("etc/manholed.conf.d/.conf", "nonsense");
        put("etc/manholed.conf.d/README", "nonsense");
        assert_int_equal(symlink("/dev/null", "etc/manholed.conf.d/15.conf"), 0);

        config_init(&c);
        assert_int_equal(config_load(&c, NULL, &error), 0);
        assert_int_equal(c.n_scan, 3);
        assert_string_equal(c.scan[0], "/0");
        assert_string_equal(c.scan[1], "/1");
        assert_string_equal(c.scan[2], "/2");
        assert_string_equal(c.record, "journal");
        config_done(&c);

        /* A named file stands alone. */
        config_init(&c);
        assert_int_equal(config_load(&c, "etc/manholed.conf", &error), 0);
        assert_int_equal(c.n_scan, 1);
        config_done(&c);
}

static void an_error_names_the_fragment_it_is_in(void **state) {
        put("etc/manholed.conf.d/17.conf", "[Manholed]\n\nRecord=everywhere\n");
        put("etc/manholed.conf.d/18.conf", "worse");
        assert_load(NULL, -EBADMSG, "etc/manholed.conf.d/17.conf:3: ");
        assert_int_equal(unlink("etc/manholed.conf.d/17.conf"), 0);
        assert_load(NULL, -EBADMSG, "etc/manholed.conf.d/18.conf:1: ");
        assert_int_equal(unlink("etc/manholed.conf.d/18.conf"), 0);
        assert_int_equal(symlink("nowhere", "etc/manholed.conf.d/19.conf"), 0);
        assert_load(NULL, -ENOENT, "etc/manholed.conf.d/19.conf: ");
        assert_int_equal(unlink("etc/manholed.conf.d/19.conf"), 0);
}

static void a_folder_of_fragments_that_cannot_be_read_is_no_absent_one(void **state) {
        assert_int_equal(rename("etc/manholed.conf.d", "etc/moved"), 0);
        assert_load(NULL, 0, NULL);
        put("etc/manholed.conf.d", "");
        assert_load(NULL, -ENOTDIR, "etc/manholed.conf.d: ");
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(without_a_line_everything_has_its_default),
                cmocka_unit_test(every_key_is_read),
                cmocka_unit_test(infinity_takes_a_limit_back),
                cmocka_unit_test(comments_blanks_and_other_line_ends_are_passed_over),
                cmocka_unit_test(a_value_may_hold_equals_signs_and_comment_marks),
                cmocka_unit_test(later_values_replace_earlier_ones_and_folders_add_up),
                cmocka_unit_test(an_empty_scan_forgets_the_folders_so_far),
                cmocka_unit_test(rules_stand_in_the_order_of_their_sections),
                cmocka_unit_test(a_bad_line_is_named_by_its_number),
                cmocka_unit_test(what_a_bad_value_would_replace_stays),
                cmocka_unit_test(a_long_name_cannot_push_the_line_number_out),
                cmocka_unit_test(the_standard_files_may_be_absent_but_a_named_one_may_not),
                cmocka_unit_test(files_that_cannot_be_read_are_errors),
                cmocka_unit_test(a_nul_byte_does_not_hide_what_follows_it),
                cmocka_unit_test(fragments_are_read_after_the_file_in_the_order_of_their_names),
                cmocka_unit_test(an_error_names_the_fragment_it_is_in),
                cmocka_unit_test(a_folder_of_fragments_that_cannot_be_read_is_no_absent_one),
        };

        return cmocka_run_group_tests_name("config", tests, scratch_enter, scratch_leave);
}
