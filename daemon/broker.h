/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Calls to org.manholed.Broker: finds the method (method.h), and has what a call is about looked at
 * before it is served. */

#include "daemon/client.h"

typedef struct Manager Manager;

/* Serves one call, or lets it wait for its turn. */
void broker_call(Manager *m, Client *client, const VarlinkCall *call);

/* Serves the call whose turn it is, or has what it is about looked at first. */
void broker_take_turn(Manager *m);
