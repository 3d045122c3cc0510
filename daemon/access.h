/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What the methods share: who may do what to which target, which target a call names, how a target
 * reads in an answer, and the record of a refusal.
 */

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

#include "daemon/client.h"
#include "daemon/policy.h"
#include "daemon/target.h"

typedef struct Manager Manager;

/* A text for a person in an error or an answer. */
#define ACCESS_REASON_MAX 512U

/* Who calls, with the groups that rules name: read when they are first asked for, since few calls need
 * them. Valid until the next reload. */
PolicySubject access_subject(const Manager *m, Client *c);
PolicyVerdict access_decide(const Manager *m, Client *c, const Target *t, PolicyMode mode);

/* The target that the call names by its parameter "target"; without one the client has its error, and
 * NULL comes back. */
Target *access_find_target(Manager *m, Client *c, json_t *parameters);

/* Whether the caller may do that to the target, and the target is there to take part. Otherwise the
 * client has its error, and a refusal is recorded. */
bool access_allows(Manager *m, Client *c, const Target *t, PolicyMode mode);

/* Whether the target is known to have manholed's agent, without which the client has its error: the
 * pure-Python package would open a console for whoever connects, and log that. */
bool access_has_agent(Client *c, const Target *t);

/* Somebody was refused a target. */
void access_record_denied(Manager *m, const Client *c, const Target *t, const char *reason);

/* The type Target of the interface; a new reference. */
json_t *access_target_json(Manager *m, const Target *t);

/* True if the client is root, or the user that the daemon runs as. */
bool access_is_ours(const Client *c);

/* A text, or null where there is none; a new reference. */
json_t *access_nullable(const char *text);

/* A path, which is bytes, as a text; null where there is none. A new reference. */
json_t *access_path_json(const char *path);

/* RFC 3339; a new reference. */
json_t *access_time_json(time_t time);
