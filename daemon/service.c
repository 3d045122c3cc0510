/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/service.h"

#include <string.h>

#include "daemon/errors.h"
#include "daemon/interfaces.h"

#define SERVICE "org.varlink.service"
#define DOCUMENTATION "man:manholed(8)"

/* Says which parameter the method does not have, if there is one besides @known (may be NULL). */
static bool refuse_unknown(Client *client, json_t *parameters, const char *known) {
        const char *name;
        json_t *value;

        json_object_foreach(parameters, name, value)
                if (!known || strcmp(name, known) != 0) {
                        client_error(client, ERROR_INVALID_PARAMETER, "parameter", name);
                        return true;
                }
        return false;
}

static void get_info(Client *client) {
        json_t *names = json_array();

        for (const Interface *i = interfaces; names && i->name; i++)
                (void)json_array_append_new(names, json_string(i->name));
        client_reply(client, json_pack("{s:s, s:s, s:s, s:s, s:o}", "vendor", "manholed", "product", "manholed",
                                       "version", PACKAGE_VERSION, "url", DOCUMENTATION, "interfaces", names));
}

static const Interface *find_interface(const char *name, size_t n) {
        for (const Interface *i = interfaces; i->name; i++)
                if (strlen(i->name) == n && strncmp(i->name, name, n) == 0)
                        return i;
        return NULL;
}

static void get_description(Client *client, json_t *parameters) {
        const char *name = json_string_value(json_object_get(parameters, "interface"));
        const Interface *i = name ? find_interface(name, strlen(name)) : NULL;

        if (!name)
                client_error(client, ERROR_INVALID_PARAMETER, "parameter", "interface");
        else if (!i)
                client_error(client, ERROR_INTERFACE_NOT_FOUND, "interface", name);
        else
                client_reply(client, json_pack("{s:s}", "description", i->description));
}

bool service_call(Client *client, const VarlinkCall *call) {
        if (strcmp(call->method, SERVICE ".GetInfo") == 0) {
                if (!refuse_unknown(client, call->parameters, NULL))
                        get_info(client);
        } else if (strcmp(call->method, SERVICE ".GetInterfaceDescription") == 0) {
                if (!refuse_unknown(client, call->parameters, "interface"))
                        get_description(client, call->parameters);
        } else
                return false;
        return true;
}

void service_unknown_method(Client *client, const VarlinkCall *call) {
        const char *dot = strrchr(call->method, '.');
        size_t n = dot ? (size_t)(dot - call->method) : strlen(call->method);

        if (!dot || !find_interface(call->method, n))
                client_error_object(client, ERROR_INTERFACE_NOT_FOUND,
                                    json_pack("{s:s%}", "interface", call->method, n));
        else
                client_error(client, ERROR_METHOD_NOT_FOUND, "method", call->method);
}
