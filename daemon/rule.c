/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/rule.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/escape.h"
#include "lib/parse.h"

#define RULE_NAME_MAX 64U
#define RULE_TEXT_MAX 400U
/* (uid_t)-1 is nobody's: chown(2). */
#define ID_MAX (UINT32_MAX - 1U)

static const char out_of_memory[] = "out of memory";

static PolicyRule *last_rule(const Policy *policy) {
        return policy->rules[policy->n_rules - 1];
}

/* ------------------------------------------------------------------ words */

/* The next word, in place; NULL at the end. *ret_wrong is set where there is none, but should be. */
static char *next_word(char **rest, const char **ret_wrong) {
        char *word = *rest, *end;

        while (isspace((unsigned char)*word))
                word++;
        if (!*word)
                return NULL;
        if (*word == '"') {
                end = strchr(++word, '"');
                if (!end || end == word || (end[1] && !isspace((unsigned char)end[1]))) {
                        *ret_wrong = "a quoted word does not end";
                        return NULL;
                }
        } else {
                for (end = word; *end && !isspace((unsigned char)*end); end++)
                        ;
        }
        *rest = *end ? end + 1 : end;
        *end = '\0';
        return word;
}

/* What is wrong is said in the words of the one who looks: a static text, or NULL. */
typedef const char *(*TakeWord)(void *into, const char *word);

static const char *each_word(const char *value, TakeWord take, void *into) {
        _cleanup_free_ char *copy = strdup(value);
        const char *wrong = NULL;
        char *rest = copy, *word;

        if (!copy)
                return out_of_memory;
        while (!wrong && (word = next_word(&rest, &wrong)))
                wrong = take(into, word);
        return wrong;
}

static const char *take_name(void *into, const char *word) {
        PolicyNames *names = into, grown = *names;
        PolicyName name = {};
        uint64_t id;

        if (strcmp(word, "*") == 0) {
                names->any = true;
                return NULL;
        }
        switch (parse_u64(word, ID_MAX, &id)) {
        case 0:
                name.known = true;
                name.id = (uint32_t)id;
                break;
        case -ERANGE:
                return "this number is no id";
        default:
                if (isdigit((unsigned char)*word) || strpbrk(word, "*?[:"))
                        return "this is neither a name, nor a number, nor '*'";
        }
        grown.names = reallocarray(names->names, names->n + 1, sizeof(*grown.names));
        if (!grown.names)
                return out_of_memory;
        names->names = grown.names;
        name.text = strdup(word);
        if (!name.text)
                return out_of_memory;
        names->names[names->n++] = name;
        return NULL;
}

/* "*" stands for users: whoever is in no group is a user all the same. */
static const char *take_group(void *into, const char *word) {
        return strcmp(word, "*") == 0 ? "all users are User=*" : take_name(into, word);
}

static const char *take_pattern(void *into, const char *word) {
        PolicyPatterns *patterns = into;
        char **grown = reallocarray(patterns->patterns, patterns->n + 1, sizeof(*grown));

        if (!grown)
                return out_of_memory;
        patterns->patterns = grown;
        grown[patterns->n] = strdup(word);
        if (!grown[patterns->n])
                return out_of_memory;
        patterns->n++;
        return NULL;
}

static const char *take_unit(void *into, const char *word) {
        return strchr(word, '/') ? "a unit's name has no '/'" : take_pattern(into, word);
}

static const char *take_executable(void *into, const char *word) {
        return *word == '/' ? take_pattern(into, word) : "an absolute path is wanted";
}

static const char *take_mode(void *into, const char *word) {
        unsigned *modes = into;

        if (strcmp(word, "*") == 0) {
                *modes = (1U << _POLICY_MODE_MAX) - 1U;
                return NULL;
        }
        for (PolicyMode mode = 0; mode < _POLICY_MODE_MAX; mode++)
                if (strcmp(policy_mode_name(mode), word) == 0) {
                        *modes |= 1U << mode;
                        return NULL;
                }
        return "a mode is observe, watch, control, terminate, inject or '*'";
}

/* --------------------------------------------------------------- sections */

/* Goes into answers and onto terminals as it is. */
static bool is_printable(const char *name) {
        for (; *name; name++)
                if (*name < 0x20 || *name > 0x7e || *name == '"')
                        return false;
        return true;
}

static int make_texts(PolicyRule *rule, const char *name, const char *place) {
        char escaped[RULE_TEXT_MAX];

        (void)escape_text(escaped, sizeof(escaped), place, strlen(place));
        rule->place = strdup(escaped);
        if (!rule->place)
                return -ENOMEM;
        if (asprintf(&rule->name, "[%s \"%s\"]", rule->grants ? "Grant" : "Deny", name) < 0) {
                rule->name = NULL;
                return -ENOMEM;
        }
        if (asprintf(&rule->text, "%s by %s, %s", rule->grants ? "granted" : "denied", rule->name,
                     rule->place) < 0) {
                rule->text = NULL;
                return -ENOMEM;
        }
        return 0;
}

static bool is_taken(const Policy *policy, const PolicyRule *rule) {
        for (size_t i = 0; i < policy->n_rules; i++)
                if (strcmp(policy->rules[i]->name, rule->name) == 0)
                        return true;
        return false;
}

const char *rule_begin(Policy *policy, bool grants, const char *name, const char *place) {
        const char *wrong = NULL;
        PolicyRule **grown, *rule;

        if (!name)
                return "a rule has a name: [Grant \"NAME\"]";
        if (strlen(name) > RULE_NAME_MAX || !is_printable(name))
                return "a rule's name is at most 64 printable ASCII characters";
        rule = calloc(1, sizeof(*rule));
        if (!rule)
                return out_of_memory;
        rule->grants = grants;
        grown = reallocarray(policy->rules, policy->n_rules + 1, sizeof(*grown));
        if (grown)
                policy->rules = grown;
        if (!grown || make_texts(rule, name, place) < 0)
                wrong = out_of_memory;
        else if (is_taken(policy, rule))
                wrong = "there is a rule of this name already";
        if (wrong) {
                policy_rule_free(rule);
                return wrong;
        }
        policy->rules[policy->n_rules++] = rule;
        return NULL;
}

static const char *assign_names(PolicyNames *names, TakeWord take, const char *value) {
        if (!*value)
                policy_names_done(names);
        return each_word(value, take, names);
}

static const char *assign_patterns(PolicyPatterns *patterns, TakeWord take, const char *value) {
        if (!*value)
                policy_patterns_done(patterns);
        return each_word(value, take, patterns);
}

const char *rule_assign(Policy *policy, const char *key, const char *value) {
        PolicyRule *rule = last_rule(policy);

        if (strcmp(key, "User") == 0)
                return assign_names(&rule->users, take_name, value);
        if (strcmp(key, "Group") == 0)
                return assign_names(&rule->groups, take_group, value);
        if (strcmp(key, "TargetUser") == 0)
                return assign_names(&rule->target_users, take_name, value);
        if (strcmp(key, "Unit") == 0)
                return assign_patterns(&rule->units, take_unit, value);
        if (strcmp(key, "Executable") == 0)
                return assign_patterns(&rule->executables, take_executable, value);
        if (strcmp(key, "Mode") != 0)
                return "unknown key";
        if (!*value)
                rule->modes = 0;
        return each_word(value, take_mode, &rule->modes);
}

static bool is_given(const PolicyNames *names) {
        return names->any || names->n > 0;
}

const char *rule_end(const Policy *policy) {
        const PolicyRule *rule = last_rule(policy);

        if (!is_given(&rule->users) && !is_given(&rule->groups))
                return "this rule says not for whom it is: User= or Group= is wanted";
        if (!is_given(&rule->target_users) && rule->units.n == 0 && rule->executables.n == 0)
                return "this rule has no target: TargetUser=, Unit= or Executable= is wanted";
        if (rule->modes == 0)
                return "this rule has no Mode=";
        return NULL;
}
