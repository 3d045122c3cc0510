/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The methods of org.manholed.Broker, one file each. A method is called when it is the client's turn
 * and what the call is about has been looked at; it answers at once, or later.
 */

#include <jansson.h>
#include <stdbool.h>

#include "daemon/client.h"

typedef struct Manager Manager;

#define METHOD_PARAMETERS_MAX 8

typedef struct MethodParameter {
        const char *name;
        json_type type; /* JSON_TRUE stands for a boolean */
} MethodParameter;

typedef struct Method {
        const char *name;
        MethodParameter parameters[METHOD_PARAMETERS_MAX]; /* ends with a NULL name */
        void (*call)(Manager *m, Client *c, json_t *parameters);
        bool at_once; /* needs no look at targets, and waits for none */
} Method;

extern const Method method_broker_status, method_metrics;
extern const Method method_list, method_status, method_attach, method_mirror, method_resume, method_sessions,
        method_terminate, method_stacks, method_tasks, method_health, method_exec, method_watch;
