/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* What the methods about sessions share: which one a call names, who may do what to it, and how it
 * reads in an answer. */

#include <jansson.h>

#include "daemon/client.h"
#include "daemon/session.h"

typedef struct Manager Manager;

/* May the caller see this session, and what is typed and answered in it? */
bool session_access_may_watch(const Client *c, const Session *s);

/* May the caller end it? */
bool session_access_may_terminate(const Client *c, const Session *s);

/* The session of this id; NULL when there is none. */
Session *session_access_find(Manager *m, const char *id);

/* The session that the call names by its parameter "session", if the caller may do that to it.
 * Without one the client has its error, a refusal is recorded, and NULL comes back. @what: "end", for
 * the reason. */
Session *session_access_find_for(Manager *m, Client *c, json_t *parameters, const char *what,
                                 bool (*may)(const Client *c, const Session *s));

/* Who else has a console in the same process, as the type Other of the interface; a new reference. */
json_t *session_access_others_json(Manager *m, const Session *s);

/* The type Session of the interface; a new reference. */
json_t *session_access_json(Manager *m, const Session *s);
