/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/registry.h"
#include "daemon/socket-file.h"

/* Folders are only told apart here. */
static char folder_a, folder_b;
#define TMP ((Folder *)(void *)&folder_a)
#define SERVICE_TMP ((Folder *)(void *)&folder_b)

static const Policy defaults;
static const PolicySubject root = { .uid = 0 }, ann = { .uid = 1000 }, bob = { .uid = 1001 };

static Target *make(Folder *folder, pid_t pid, uid_t owner, uid_t uid, const char *comm, const char *unit) {
        struct stat st = { .st_uid = owner };
        char name[32];
        Target *t;

        (void)snprintf(name, sizeof(name), "manhole-%d", (int)pid);
        t = target_new(folder, folder == TMP ? "/tmp" : "/service/tmp", name, &st, pid);
        assert_non_null(t);
        t->state = TARGET_LIVE;
        t->has_process = true;
        t->ids = (ProcStatus){ .ruid = uid, .euid = uid, .suid = uid };
        (void)snprintf(t->comm, sizeof(t->comm), "%s", comm);
        t->unit = unit ? strdup(unit) : NULL;
        return t;
}

static Target *add(Registry *r, Folder *folder, pid_t pid, uid_t uid, const char *comm, const char *unit) {
        Target *t = make(folder, pid, uid, uid, comm, unit);

        assert_int_equal(registry_add(r, t), 0);
        return t;
}

static Target *resolve(Registry *r, PolicySubject subject, const char *name) {
        Target *t = NULL;

        assert_int_equal(registry_resolve(r, &defaults, subject, name, &t), 0);
        return t;
}

static void assert_resolves_to(Registry *r, PolicySubject subject, const char *name, int verdict) {
        Target *t = NULL;

        assert_int_equal(registry_resolve(r, &defaults, subject, name, &t), verdict);
        assert_int_equal(t != NULL, verdict != REGISTRY_E_UNKNOWN);
}

static void a_target_is_found_by_folder_and_name(void **state) {
        Registry r;
        Target *a, *b;

        registry_init(&r, 4096);
        assert_null(registry_find(&r, TMP, "manhole-5"));
        a = add(&r, TMP, 5, 0, "x", NULL);
        b = add(&r, SERVICE_TMP, 5, 0, "x", NULL);
        assert_ptr_equal(registry_find(&r, TMP, "manhole-5"), a);
        assert_ptr_equal(registry_find(&r, SERVICE_TMP, "manhole-5"), b);
        assert_null(registry_find(&r, TMP, "manhole-50"));
        assert_null(registry_find(&r, TMP, "manhole-"));
        assert_int_equal(r.n_targets, 2);

        registry_remove(&r, a);
        assert_null(registry_find(&r, TMP, "manhole-5"));
        assert_ptr_equal(registry_find(&r, SERVICE_TMP, "manhole-5"), b);
        target_free(a);
        assert_int_equal(r.n_targets, 1);
        registry_done(&r);
        assert_int_equal(r.n_targets, 0);
}

static void a_target_that_leaves_while_it_is_looked_at_is_no_longer_waited_for(void **state) {
        Registry r;
        Target *a;

        registry_init(&r, 4096);
        a = add(&r, TMP, 5, 0, "x", NULL);
        a->pending = true;
        r.n_pending = 1;
        registry_remove(&r, a);
        assert_int_equal(r.n_pending, 0);
        assert_false(a->pending);
        target_free(a);
        registry_done(&r);
}

static void many_targets_stay_apart(void **state) {
        Registry r;
        char name[32];

        registry_init(&r, 4096);
        for (pid_t pid = 1; pid <= 500; pid++)
                add(&r, pid % 2 ? TMP : SERVICE_TMP, pid, 0, "x", NULL);
        for (pid_t pid = 1; pid <= 500; pid++) {
                (void)snprintf(name, sizeof(name), "manhole-%d", (int)pid);
                assert_int_equal(registry_find(&r, pid % 2 ? TMP : SERVICE_TMP, name)->pid, pid);
                assert_null(registry_find(&r, pid % 2 ? SERVICE_TMP : TMP, name));
        }
        registry_done(&r);
}

static void a_name_is_a_pid_a_path_a_unit_or_a_process(void **state) {
        Registry r;
        Target *a, *b;

        registry_init(&r, 4096);
        a = add(&r, TMP, 5, 0, "python3", "web.service");
        b = add(&r, SERVICE_TMP, 55, 0, "gunicorn", "app@1.service");
        assert_ptr_equal(resolve(&r, root, "5"), a);
        assert_ptr_equal(resolve(&r, root, "55"), b);
        assert_ptr_equal(resolve(&r, root, "/tmp/manhole-5"), a);
        assert_ptr_equal(resolve(&r, root, "/service/tmp/manhole-55"), b);
        assert_ptr_equal(resolve(&r, root, "web.service"), a);
        assert_ptr_equal(resolve(&r, root, "web"), a);
        assert_ptr_equal(resolve(&r, root, "app@1"), b);
        assert_ptr_equal(resolve(&r, root, "gunicorn"), b);
        registry_done(&r);
}

static void what_is_almost_a_name_is_none(void **state) {
        static const char *const names[] = {
                "", "0", "50", "-5", "+5", " 5", "5 ", "/tmp/manhole-55", "/tmp/manhole-", "tmp/manhole-5",
                "manhole-5", "/tmp//manhole-5", "/tmp/../tmp/manhole-5", "we", "web.", "web.servic",
                "web.service.service", "web.service ", ".service", "service", "Web", "python", "python33",
                "99999999999999999999", "\xff",
        };
        Registry r;

        registry_init(&r, 4096);
        add(&r, TMP, 5, 0, "python3", "web.service");
        add(&r, TMP, 6, 0, "", NULL);
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
                assert_resolves_to(&r, root, names[i], REGISTRY_E_UNKNOWN);
        registry_done(&r);
        registry_init(&r, 4096);
        assert_resolves_to(&r, root, "5", REGISTRY_E_UNKNOWN);
        registry_done(&r);
}

static void only_a_service_may_lose_its_suffix(void **state) {
        Registry r;

        registry_init(&r, 4096);
        add(&r, TMP, 5, 0, "x", "user.slice");
        add(&r, TMP, 6, 0, "x", "session-3.scope");
        assert_resolves_to(&r, root, "user", REGISTRY_E_UNKNOWN);
        assert_resolves_to(&r, root, "session-3", REGISTRY_E_UNKNOWN);
        assert_int_equal(resolve(&r, root, "session-3.scope")->pid, 6);
        registry_done(&r);
}

static void a_number_is_a_pid_even_where_a_process_is_called_so(void **state) {
        Registry r;

        registry_init(&r, 4096);
        add(&r, TMP, 5, 0, "77", NULL);
        assert_resolves_to(&r, root, "77", REGISTRY_E_UNKNOWN);
        add(&r, TMP, 77, 0, "x", NULL);
        assert_int_equal(resolve(&r, root, "77")->pid, 77);
        registry_done(&r);
}

static void a_name_that_several_answer_to_is_ambiguous(void **state) {
        Registry r;

        registry_init(&r, 4096);
        add(&r, TMP, 5, 1000, "gunicorn", "web.service");
        add(&r, TMP, 6, 1000, "gunicorn", "web.service");
        add(&r, SERVICE_TMP, 5, 1000, "gunicorn", "app.service");
        assert_resolves_to(&r, root, "gunicorn", REGISTRY_E_AMBIGUOUS);
        assert_resolves_to(&r, ann, "web", REGISTRY_E_AMBIGUOUS);
        assert_resolves_to(&r, ann, "5", REGISTRY_E_AMBIGUOUS); /* pids of two namespaces */
        assert_resolves_to(&r, ann, "6", 0);
        assert_resolves_to(&r, ann, "app", 0);
        registry_done(&r);
}

static void what_may_not_be_seen_makes_nothing_ambiguous(void **state) {
        Registry r;
        Target *a;

        registry_init(&r, 4096);
        add(&r, TMP, 4, 1001, "gunicorn", "web.service");
        a = add(&r, TMP, 5, 1000, "gunicorn", "web.service");
        add(&r, TMP, 6, 0, "gunicorn", "web.service");
        assert_ptr_equal(resolve(&r, ann, "gunicorn"), a);
        assert_ptr_equal(resolve(&r, ann, "web"), a);
        assert_resolves_to(&r, root, "web", REGISTRY_E_AMBIGUOUS);
        registry_done(&r);
}

static void what_may_not_be_seen_is_still_found_to_be_refused(void **state) {
        Registry r;

        registry_init(&r, 4096);
        add(&r, TMP, 5, 1000, "gunicorn", "web.service");
        add(&r, TMP, 6, 1000, "gunicorn", "web.service");
        assert_int_equal(resolve(&r, bob, "6")->pid, 6);
        assert_int_equal(resolve(&r, bob, "/tmp/manhole-5")->pid, 5);
        assert_resolves_to(&r, bob, "web", 0); /* any of them: it is refused */
        registry_done(&r);
}

static void a_process_whose_uids_differ_is_root_s(void **state) {
        Registry r;
        Target *a;

        registry_init(&r, 4096);
        a = add(&r, TMP, 5, 1000, "x", NULL);
        assert_int_equal(target_policy_object(a).uid, 1000);
        a->ids.suid = 0;
        assert_int_equal(target_policy_object(a).uid, 0);
        a->ids = (ProcStatus){ .ruid = 1000, .euid = 33, .suid = 33 };
        assert_int_equal(target_policy_object(a).uid, 0);
        a->ids = (ProcStatus){ .ruid = 33, .euid = 1000, .suid = 33 };
        assert_int_equal(target_policy_object(a).uid, 0);
        a->has_process = false; /* then the file's owner counts */
        assert_int_equal(target_policy_object(a).uid, 1000);
        registry_done(&r);
}

static void a_squatter_in_another_folder_does_not_come_between(void **state) {
        Registry r;
        Target *squatter, *service;

        registry_init(&r, 4096);
        /* Bob binds /tmp/manhole-55, the name of a service that has a /tmp of its own. */
        squatter = make(TMP, 55, 1001, 33, "gunicorn", "web.service");
        assert_int_equal(registry_add(&r, squatter), 0);
        squatter->state = TARGET_UNTRUSTED;
        service = add(&r, SERVICE_TMP, 55, 33, "gunicorn", "web.service");
        assert_ptr_equal(resolve(&r, root, "55"), service);
        assert_ptr_equal(resolve(&r, root, "web"), service);
        assert_ptr_equal(resolve(&r, root, "gunicorn"), service);
        assert_ptr_equal(resolve(&r, root, "/tmp/manhole-55"), squatter);
        squatter->state = TARGET_STALE;
        assert_ptr_equal(resolve(&r, root, "55"), service);
        service->state = TARGET_STALE;
        assert_resolves_to(&r, root, "55", REGISTRY_E_AMBIGUOUS);
        registry_done(&r);
}

static void a_process_that_calls_itself_after_a_unit_is_not_the_unit(void **state) {
        Registry r;
        Target *service;

        registry_init(&r, 4096);
        add(&r, TMP, 4, 1001, "web.service", "user@1001.service");
        service = add(&r, TMP, 5, 33, "gunicorn", "web.service");
        add(&r, TMP, 6, 1001, "web", NULL);
        assert_ptr_equal(resolve(&r, root, "web.service"), service);
        assert_ptr_equal(resolve(&r, root, "web"), service);
        service->state = TARGET_STALE; /* told so, rather than led elsewhere */
        assert_ptr_equal(resolve(&r, root, "web"), service);
        assert_int_equal(resolve(&r, bob, "web")->pid, 6);
        registry_done(&r);
}

static void a_process_that_ended_has_no_name(void **state) {
        Registry r;

        registry_init(&r, 4096);
        add(&r, TMP, 5, 0, "gunicorn", NULL)->has_process = false;
        assert_resolves_to(&r, root, "gunicorn", REGISTRY_E_UNKNOWN);
        assert_int_equal(resolve(&r, root, "5")->pid, 5);
        registry_done(&r);
}

static void one_owner_cannot_fill_it_for_others(void **state) {
        Target *too_many = make(TMP, 7, 1000, 1000, "x", NULL), *a;
        Registry r;

        registry_init(&r, 4096);
        r.owners.max_per_user = 2;
        a = add(&r, TMP, 5, 1000, "x", NULL);
        add(&r, TMP, 6, 1000, "x", NULL);
        assert_int_equal(registry_add(&r, too_many), REGISTRY_E_FULL);
        assert_int_equal(r.n_targets, 2);
        assert_null(registry_find(&r, TMP, "manhole-7"));
        add(&r, TMP, 8, 1001, "x", NULL);
        registry_remove(&r, a);
        target_free(a);
        assert_int_equal(registry_add(&r, too_many), 0);
        registry_done(&r);
}

static void a_file_is_told_from_its_successor(void **state) {
        const struct stat file = { .st_dev = 1, .st_ino = 2, .st_ctim = { 3, 4 } };
        struct stat st = file;

        assert_true(socket_file_same(&file, &st));
        st.st_ctim.tv_nsec++;
        assert_false(socket_file_same(&file, &st));
        st = file, st.st_ctim.tv_sec++;
        assert_false(socket_file_same(&file, &st));
        st = file, st.st_ino++;
        assert_false(socket_file_same(&file, &st));
        st = file, st.st_dev++;
        assert_false(socket_file_same(&file, &st));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_target_is_found_by_folder_and_name),
                cmocka_unit_test(a_target_that_leaves_while_it_is_looked_at_is_no_longer_waited_for),
                cmocka_unit_test(many_targets_stay_apart),
                cmocka_unit_test(a_name_is_a_pid_a_path_a_unit_or_a_process),
                cmocka_unit_test(what_is_almost_a_name_is_none),
                cmocka_unit_test(only_a_service_may_lose_its_suffix),
                cmocka_unit_test(a_number_is_a_pid_even_where_a_process_is_called_so),
                cmocka_unit_test(a_name_that_several_answer_to_is_ambiguous),
                cmocka_unit_test(what_may_not_be_seen_makes_nothing_ambiguous),
                cmocka_unit_test(what_may_not_be_seen_is_still_found_to_be_refused),
                cmocka_unit_test(a_process_whose_uids_differ_is_root_s),
                cmocka_unit_test(a_squatter_in_another_folder_does_not_come_between),
                cmocka_unit_test(a_process_that_calls_itself_after_a_unit_is_not_the_unit),
                cmocka_unit_test(a_process_that_ended_has_no_name),
                cmocka_unit_test(one_owner_cannot_fill_it_for_others),
                cmocka_unit_test(a_file_is_told_from_its_successor),
        };

        return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
