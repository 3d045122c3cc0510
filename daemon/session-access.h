/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* What the methods about sessions share: which one a call names, who may do what to it, and how it
 * reads in an answer. */

#include <jansson.h>

#include "daemon/client.h"
#include "daemon/policy.h"
#include "daemon/session.h"

typedef struct Manager Manager;

/* May the caller watch this session, or end it (POLICY_WATCH, POLICY_TERMINATE)? Those of the same user
 * always. */
PolicyVerdict session_access_decide(const Manager *m, Client *c, const Session *s, PolicyMode mode);

/* The session of this id; NULL when there is none. */
Session *session_access_find(Manager *m, const char *id);

/* The session that the call names by its parameter "session", if the caller may do that to it.
 * Without one the client has its error, a refusal is recorded, and NULL comes back. */
Session *session_access_find_for(Manager *m, Client *c, json_t *parameters, PolicyMode mode);

/* The same, also for the session's own user: what the policy would say now. */
PolicyVerdict session_access_decide_anew(const Manager *m, Client *c, const Session *s, PolicyMode mode);

/* Opens one in a target that the caller may control, if there is room for it and a reason where one is
 * needed: @client is told how it goes. Otherwise the client has its error. */
void session_access_open(Manager *m, Client *c, Target *t, SessionWishes wishes, SessionClient client);

/* Somebody was refused something with it. */
void session_access_record_denied(Manager *m, const Client *c, const Session *s, const char *reason);

/* What of a session's state is worth telling. */
typedef enum SessionPhase {
        SESSION_STARTING,
        SESSION_ATTACHED,
        SESSION_LINGERING, /* its client is lost */
        _SESSION_PHASE_MAX,
} SessionPhase;

SessionPhase session_access_phase(const Session *s);
const char *session_access_phase_name(SessionPhase phase);

/* Who else has a console in the same process, as the type Other of the interface; a new reference. */
json_t *session_access_others_json(Manager *m, const Session *s);

/* The type Session of the interface; a new reference. */
json_t *session_access_json(Manager *m, const Session *s);
