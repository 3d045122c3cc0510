/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Who may do what to which target: pure, a function of kernel facts and the administrator's rules.
 *
 * Root may do everything. For everybody else the first rule that matches decides; where none does, a
 * user may do everything to targets of the same uid, and nothing to others'. Rules are made in rule.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum PolicyMode {
        POLICY_OBSERVE,   /* list, status, stacks, tasks, health: the daemon answers, and no code runs */
        POLICY_WATCH,     /* other people's sessions and recordings */
        POLICY_CONTROL,   /* attach, exec: code runs in the target */
        POLICY_TERMINATE, /* end other people's sessions */
        POLICY_INJECT,    /* start the agent in a process without one */
        _POLICY_MODE_MAX,
} PolicyMode;

/* A user or a group as the rule names it, and what the name service says. */
typedef struct PolicyName {
        char *text; /* owned */
        bool known; /* as long as it is not, it stands for nobody */
        uint32_t id;
} PolicyName;

typedef struct PolicyNames {
        PolicyName *names; /* owned */
        size_t n;
        bool any; /* "*" is among them */
} PolicyNames;

typedef struct PolicyPatterns {
        char **patterns; /* owned */
        size_t n;
} PolicyPatterns;

typedef struct PolicyRule {
        bool grants;               /* else it denies */
        char *name;                /* owned: [Grant "developers"] */
        char *place;               /* owned: FILE:LINE */
        char *text;                /* owned: both, as a verdict tells them */
        PolicyNames users, groups; /* of the client: one of either */
        /* Of the target: one of each that is given. */
        PolicyNames target_users;
        PolicyPatterns units, executables;
        unsigned modes; /* 1 << PolicyMode */
} PolicyRule;

/* Zeroed memory has no rules; policy_done() makes it so again. */
typedef struct Policy {
        PolicyRule **rules; /* owned; the first that matches decides */
        size_t n_rules;
} Policy;

typedef struct PolicySubject {
        uid_t uid; /* effective uid of the client when it connected (SO_PEERCRED, unix(7)) */
        /* Its groups, the supplementary ones included: those that rules name are enough; borrowed. */
        const gid_t *groups;
        size_t n_groups;
        bool groups_unknown; /* could not be read: no grant to a group covers it, and each denial does */
} PolicySubject;

typedef struct PolicyObject {
        uid_t uid;              /* the target's, or 0 where its uids differ */
        const char *unit;       /* of the system's manager; NULL when there is none; borrowed */
        bool unit_unknown;      /* could not be read: as with the executable */
        const char *executable; /* NULL when unknown: no grant covers it, and each denial does; borrowed */
} PolicyObject;

typedef struct PolicyVerdict {
        bool allowed;
        const char *rule; /* what decided, for a person; the policy's, or static */
} PolicyVerdict;

PolicyVerdict policy_decide(const Policy *policy, PolicySubject subject, PolicyObject object,
                            PolicyMode mode);

/* True if some mode is allowed. */
bool policy_allows_anything(const Policy *policy, PolicySubject subject, PolicyObject object);

/* True if a rule names this group. */
bool policy_names_group(const Policy *policy, gid_t group);

/* "observe", … */
const char *policy_mode_name(PolicyMode mode);

void policy_names_done(PolicyNames *names);
void policy_patterns_done(PolicyPatterns *patterns);
void policy_rule_free(PolicyRule *rule);
void policy_done(Policy *policy);
