/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* The methods of org.manholed.Broker: who may call what on which target, and the answers. */

#include "daemon/client.h"

typedef struct Manager Manager;

/* Serves one call, or lets it wait for its turn. */
void broker_call(Manager *m, Client *client, const VarlinkCall *call);

/* Serves the call whose turn it is, or has what it is about looked at first. */
void broker_take_turn(Manager *m);
