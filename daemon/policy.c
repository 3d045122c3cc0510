/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/policy.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#define SERVICE_SUFFIX ".service"

const char *policy_mode_name(PolicyMode mode) {
        static const char *const names[_POLICY_MODE_MAX] = {
                [POLICY_OBSERVE] = "observe",     [POLICY_WATCH] = "watch",   [POLICY_CONTROL] = "control",
                [POLICY_TERMINATE] = "terminate", [POLICY_INJECT] = "inject",
        };

        return names[mode];
}

static bool names_have(const PolicyNames *names, uint32_t id) {
        for (size_t i = 0; i < names->n; i++)
                if (names->names[i].known && names->names[i].id == id)
                        return true;
        return false;
}

static bool covers_subject(const PolicyRule *rule, const PolicySubject *subject) {
        if (rule->users.any || names_have(&rule->users, subject->uid))
                return true;
        if (subject->groups_unknown)
                return rule->groups.n > 0 && !rule->grants;
        for (size_t i = 0; i < subject->n_groups; i++)
                if (names_have(&rule->groups, subject->groups[i]))
                        return true;
        return false;
}

/* A target of root's is granted by its user's name alone: who grants all of a kind rarely thinks of
 * the one whose console is the whole machine. */
static bool covers_uid(const PolicyRule *rule, uid_t uid) {
        if (names_have(&rule->target_users, uid))
                return true;
        if (rule->grants && uid == 0)
                return false;
        return rule->target_users.any || rule->target_users.n == 0;
}

/* As systemctl(1): a unit without a suffix is a service. A backslash is a unit's own (systemd.unit(5),
 * escaping). */
static bool covers_unit(const PolicyRule *rule, const char *unit, bool unknown) {
        char stem[256];
        size_t n;

        if (rule->units.n == 0)
                return true;
        if (unknown)
                return !rule->grants;
        if (!unit)
                return false;
        for (size_t i = 0; i < rule->units.n; i++)
                if (fnmatch(rule->units.patterns[i], unit, FNM_NOESCAPE) == 0)
                        return true;
        n = strlen(unit);
        if (n >= sizeof(stem) || n <= strlen(SERVICE_SUFFIX) ||
            strcmp(unit + n - strlen(SERVICE_SUFFIX), SERVICE_SUFFIX) != 0)
                return false;
        memcpy(stem, unit, n);
        stem[n - strlen(SERVICE_SUFFIX)] = '\0';
        for (size_t i = 0; i < rule->units.n; i++)
                if (fnmatch(rule->units.patterns[i], stem, FNM_NOESCAPE) == 0)
                        return true;
        return false;
}

static bool covers_executable(const PolicyRule *rule, const char *executable) {
        if (rule->executables.n == 0)
                return true;
        if (!executable)
                return !rule->grants;
        for (size_t i = 0; i < rule->executables.n; i++)
                if (fnmatch(rule->executables.patterns[i], executable, FNM_NOESCAPE | FNM_PATHNAME) == 0)
                        return true;
        return false;
}

PolicyVerdict policy_decide(const Policy *policy, PolicySubject subject, PolicyObject object,
                            PolicyMode mode) {
        /* No rule keeps root out: it needs no broker to read another's memory (ptrace(2)). */
        if (subject.uid == 0)
                return (PolicyVerdict){ true, "root may do everything" };
        for (size_t i = 0; i < policy->n_rules; i++) {
                const PolicyRule *rule = policy->rules[i];

                if ((rule->modes & 1U << mode) && covers_subject(rule, &subject) &&
                    covers_uid(rule, object.uid) && covers_unit(rule, object.unit, object.unit_unknown) &&
                    covers_executable(rule, object.executable))
                        return (PolicyVerdict){ rule->grants, rule->text };
        }
        if (subject.uid == object.uid)
                return (PolicyVerdict){ true, "a user may do everything to targets of the same uid" };
        return (PolicyVerdict){ false, "the target belongs to another user, and no rule grants this" };
}

bool policy_allows_anything(const Policy *policy, PolicySubject subject, PolicyObject object) {
        for (PolicyMode mode = 0; mode < _POLICY_MODE_MAX; mode++)
                if (policy_decide(policy, subject, object, mode).allowed)
                        return true;
        return false;
}

bool policy_names_group(const Policy *policy, gid_t group) {
        for (size_t i = 0; i < policy->n_rules; i++)
                if (names_have(&policy->rules[i]->groups, group))
                        return true;
        return false;
}

void policy_names_done(PolicyNames *names) {
        for (size_t i = 0; i < names->n; i++)
                free(names->names[i].text);
        free(names->names);
        *names = (PolicyNames){};
}

void policy_patterns_done(PolicyPatterns *patterns) {
        for (size_t i = 0; i < patterns->n; i++)
                free(patterns->patterns[i]);
        free(patterns->patterns);
        *patterns = (PolicyPatterns){};
}

void policy_rule_free(PolicyRule *rule) {
        if (!rule)
                return;
        policy_names_done(&rule->users);
        policy_names_done(&rule->groups);
        policy_names_done(&rule->target_users);
        policy_patterns_done(&rule->units);
        policy_patterns_done(&rule->executables);
        free(rule->name);
        free(rule->place);
        free(rule->text);
        free(rule);
}

void policy_done(Policy *policy) {
        for (size_t i = 0; i < policy->n_rules; i++)
                policy_rule_free(policy->rules[i]);
        free(policy->rules);
        *policy = (Policy){};
}
