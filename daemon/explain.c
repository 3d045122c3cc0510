/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/explain.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <time.h>

#include "daemon/log.h"
#include "daemon/target.h"
#include "lib/cleanup.h"
#include "lib/escape.h"
#include "lib/parse.h"

#define EXPLAIN_GROUPS_MAX 65536 /* NGROUPS_MAX, limits(5) */
#define EXPLAIN_TEXT_MAX 512U

static void target_freep(Target **t) {
        target_free(*t);
}

/* The groups that a login would give; a process may have others. */
static int read_subject(const char *name, gid_t **ret_groups, PolicySubject *ret) {
        _cleanup_free_ gid_t *groups = reallocarray(NULL, EXPLAIN_GROUPS_MAX, sizeof(gid_t));
        const struct passwd *pw;
        uint64_t uid = 0;
        bool is_number = parse_u64(name, UINT32_MAX - 1U, &uid) == 0;
        int n = EXPLAIN_GROUPS_MAX;

        if (!groups)
                return -ENOMEM;
        pw = is_number ? getpwuid((uid_t)uid) : getpwnam(name);
        if (!pw && !is_number)
                return -ESRCH;
        if (!pw)
                n = 0;
        else if (getgrouplist(pw->pw_name, pw->pw_gid, groups, &n) < 0)
                return -E2BIG;
        *ret = (PolicySubject){ .uid = pw ? pw->pw_uid : (uid_t)uid,
                                .groups = groups,
                                .n_groups = (size_t)n };
        *ret_groups = TAKE_PTR(groups);
        return 0;
}

/* As the daemon would see it if the process had a manhole that is as old as this moment. */
static int read_target(pid_t pid, Target **ret) {
        _cleanup_(target_freep) Target *t = NULL;
        _cleanup_fd_ int fd = -1;
        struct stat st = {};
        char path[64];

        if (clock_gettime(CLOCK_REALTIME, &st.st_ctim) < 0)
                return -errno;
        t = target_new(NULL, "", "", &st, pid);
        if (!t)
                return -ENOMEM;
        target_read_process(t);
        if (!t->has_process)
                return -ESRCH;
        (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
        fd = open(path, O_PATH | O_CLOEXEC);
        if (fd >= 0)
                (void)proc_read_executable(fd, &t->executable);
        *ret = TAKE_PTR(t);
        return 0;
}

static void print_text(const char *text, FILE *out) {
        char escaped[EXPLAIN_TEXT_MAX];

        (void)escape_text(escaped, sizeof(escaped), text, strlen(text));
        fputs(escaped, out);
}

static void print_answer(const Policy *policy, PolicySubject subject, const Target *t, FILE *out) {
        PolicyObject object = target_policy_object(t);

        fprintf(out, "uid %u, groups", (unsigned)subject.uid);
        for (size_t i = 0; i < subject.n_groups; i++)
                fprintf(out, " %u", (unsigned)subject.groups[i]);
        fprintf(out, "%s; process %d of uid %u, unit ", subject.n_groups == 0 ? " none" : "", (int)t->pid,
                (unsigned)object.uid);
        print_text(object.unit ?: object.unit_unknown ? "unknown" : "none", out);
        fputs(", executable ", out);
        print_text(object.executable ?: "unknown", out);
        fputc('\n', out);
        for (PolicyMode mode = 0; mode < _POLICY_MODE_MAX; mode++) {
                PolicyVerdict verdict = policy_decide(policy, subject, object, mode);

                fprintf(out, "    %-12s %s: %s\n", policy_mode_name(mode),
                        verdict.allowed ? "allowed" : "refused", verdict.rule);
        }
}

int explain_parse(const char *text, ExplainQuestion *ret) {
        const char *colon = strrchr(text, ':');
        ExplainQuestion question = {};
        size_t n = colon ? (size_t)(colon - text) : 0;

        if (n == 0 || n >= sizeof(question.user) || parse_pid(colon + 1, &question.pid) < 0)
                return -EINVAL;
        memcpy(question.user, text, n);
        *ret = question;
        return 0;
}

int explain(const Policy *policy, const ExplainQuestion *question, FILE *out) {
        _cleanup_(target_freep) Target *t = NULL;
        _cleanup_free_ gid_t *groups = NULL;
        PolicySubject subject;
        int r = read_subject(question->user, &groups, &subject);

        if (r < 0) {
                log_error("--explain=: the user cannot be found: %s", strerror(-r));
                return r;
        }
        r = read_target(question->pid, &t);
        if (r < 0) {
                log_error("--explain=: process %d cannot be read: %s", (int)question->pid, strerror(-r));
                return r;
        }
        print_answer(policy, subject, t, out);
        return 0;
}
