/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/rule-report.h"

#include <string.h>

#include "daemon/log.h"
#include "lib/escape.h"

#define WORD_MAX 256U

/* --------------------------------------------------------------- printing */

/* Words of the configuration are an administrator's, and may still hold what a terminal obeys. */
static const char *escaped(const char *word, char buffer[WORD_MAX]) {
        (void)escape_text(buffer, WORD_MAX, word, strlen(word));
        return buffer;
}

/* The number stands behind the name, unless it is the name. */
static void print_names(const PolicyNames *names, const char *label, FILE *out) {
        char word[WORD_MAX];

        if (!names->any && names->n == 0)
                return;
        fprintf(out, "    %-12s", label);
        if (names->any)
                fprintf(out, " *");
        for (size_t i = 0; i < names->n; i++) {
                const PolicyName *name = names->names + i;

                fprintf(out, " %s", escaped(name->text, word));
                if (!name->known)
                        fprintf(out, "(unknown)");
                else if (name->text[0] < '0' || name->text[0] > '9')
                        fprintf(out, "(%u)", name->id);
        }
        fputc('\n', out);
}

static void print_patterns(const PolicyPatterns *patterns, const char *label, FILE *out) {
        char word[WORD_MAX];

        if (patterns->n == 0)
                return;
        fprintf(out, "    %-12s", label);
        for (size_t i = 0; i < patterns->n; i++)
                fprintf(out, " %s", escaped(patterns->patterns[i], word));
        fputc('\n', out);
}

void rule_print_all(const Policy *policy, FILE *out) {
        fprintf(out, "root may do everything. For others the first rule that matches decides:\n");
        for (size_t i = 0; i < policy->n_rules; i++) {
                const PolicyRule *rule = policy->rules[i];

                fprintf(out, "%zu. %s, %s\n", i + 1, rule->name, rule->place);
                print_names(&rule->users, "User", out);
                print_names(&rule->groups, "Group", out);
                print_names(&rule->target_users, "TargetUser", out);
                print_patterns(&rule->units, "Unit", out);
                print_patterns(&rule->executables, "Executable", out);
                fprintf(out, "    %-12s", "Mode");
                for (PolicyMode mode = 0; mode < _POLICY_MODE_MAX; mode++)
                        if (rule->modes & 1U << mode)
                                fprintf(out, " %s", policy_mode_name(mode));
                fputc('\n', out);
        }
        fprintf(out, "%zu. a user may do everything to targets of the same uid, and nothing to others'\n",
                policy->n_rules + 1);
}

/* --------------------------------------------------------------- warnings */

static bool is_among(const PolicyNames *names, const char *text) {
        for (size_t i = 0; i < names->n; i++)
                if (strcmp(names->names[i].text, text) == 0)
                        return true;
        return false;
}

/* Who is in the second is in the first. */
static bool names_include(const PolicyNames *a, const PolicyNames *b) {
        if (b->any && !a->any)
                return false;
        for (size_t i = 0; i < b->n; i++)
                if (!a->any && !is_among(a, b->names[i].text))
                        return false;
        return true;
}

static bool patterns_include(const PolicyPatterns *a, const PolicyPatterns *b) {
        for (size_t i = 0; i < b->n; i++) {
                size_t k = 0;

                while (k < a->n && strcmp(a->patterns[k], b->patterns[i]) != 0)
                        k++;
                if (k == a->n)
                        return false;
        }
        return true;
}

static bool includes_clients(const PolicyRule *a, const PolicyRule *b) {
        return a->users.any ||
               (names_include(&a->users, &b->users) && names_include(&a->groups, &b->groups));
}

static bool is_wild(const PolicyNames *names) {
        return names->any || names->n == 0;
}

/* Of a wildcard: a denial's has root's targets in it, a grant's has not (policy.c). */
static bool includes_target_users(const PolicyRule *a, const PolicyRule *b) {
        if (is_wild(&b->target_users) && (!is_wild(&a->target_users) || (a->grants && !b->grants)))
                return false;
        for (size_t i = 0; i < b->target_users.n; i++) {
                const PolicyName *name = b->target_users.names + i;
                bool is_root = name->known && name->id == 0;

                if (!is_among(&a->target_users, name->text) &&
                    (!is_wild(&a->target_users) || (a->grants && is_root)))
                        return false;
        }
        return true;
}

static bool includes_patterns(const PolicyPatterns *a, const PolicyPatterns *b) {
        return a->n == 0 || (b->n > 0 && patterns_include(a, b));
}

const PolicyRule *rule_hidden_by(const Policy *policy, size_t n) {
        const PolicyRule *b = policy->rules[n];

        for (size_t i = 0; i < n; i++) {
                const PolicyRule *a = policy->rules[i];

                if ((b->modes & ~a->modes) == 0 && includes_clients(a, b) && includes_target_users(a, b) &&
                    includes_patterns(&a->units, &b->units) &&
                    includes_patterns(&a->executables, &b->executables))
                        return a;
        }
        return NULL;
}

static void warn_of_unknown(const PolicyRule *rule, const PolicyNames *names, const char *kind) {
        char word[WORD_MAX];

        for (size_t i = 0; i < names->n; i++)
                if (!names->names[i].known)
                        log_warning("%s: %s: no %s is called '%s'; it matches nobody", rule->place,
                                    rule->name, kind, escaped(names->names[i].text, word));
}

void rule_warn(const Policy *policy) {
        for (size_t i = 0; i < policy->n_rules; i++) {
                const PolicyRule *rule = policy->rules[i], *hides = rule_hidden_by(policy, i);

                warn_of_unknown(rule, &rule->users, "user");
                warn_of_unknown(rule, &rule->groups, "group");
                warn_of_unknown(rule, &rule->target_users, "user");
                if (hides)
                        log_warning("%s: %s never decides: %s comes first", rule->place, rule->name,
                                    hides->name);
        }
}
