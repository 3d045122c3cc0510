/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* The methods of org.manholed.Broker: who may call what on which target, and the answers. */

#include "daemon/client.h"

typedef struct Manager Manager;

/* Serves one call, or leaves it waiting until the registry has settled. */
void broker_call(Manager *m, Client *client, const VarlinkCall *call);

/* Goes on with a call that waited. */
void broker_resume(Manager *m, Client *client);
