/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* org.varlink.service, which every Varlink server has (https://varlink.org/Service). */

#include <stdbool.h>

#include "daemon/client.h"

/* Serves the call if it is one of this interface's. */
bool service_call(Client *client, const VarlinkCall *call);

/* The error for a method nobody has. */
void service_unknown_method(Client *client, const VarlinkCall *call);
