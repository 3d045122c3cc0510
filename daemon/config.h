/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Configuration: /etc/manholed.conf, then /etc/manholed.conf.d/ in the order of names, as systemd's
 * files (INI). Later values replace earlier ones; an empty `Scan=` forgets the folders so far.
 *
 *   [Manholed]
 *   Record=journal | file:DIR | none
 *   Recording=required | best-effort | off
 *   RecordInput=yes | no, RecordOutput=yes | no
 *   RecordBytesPerSession=SIZE | infinity, RecordBytesPerUserDay=SIZE | infinity
 *   RetainSec=TIME | infinity, RetainMax=SIZE | infinity
 *   Scan=DIR                  (may be given several times)
 *   ConnectionsPerUser=NUMBER
 *   SessionsPerUser=NUMBER
 *   TargetsPerUser=NUMBER
 *   SessionIdleSec=TIME | infinity
 *   SessionMaxSec=TIME | infinity
 *   LingerSec=TIME
 *   RemoveStale=yes | report | no
 *   RequireReason=yes | no
 *   LogLevel=err | warning | notice | info | debug
 *
 *   [Grant "NAME"]  [Deny "NAME"]   rules of the policy: rule.h
 */

#include <stdbool.h>
#include <stddef.h>

#include "daemon/ini.h"
#include "daemon/policy.h"
#include "daemon/recorder-rules.h"
#include "daemon/session-limits.h"
#include "daemon/socket-file.h"

typedef struct Config {
        char *record; /* owned; NULL until it is set */
        RecorderRules recorder_rules;
        char **scan;  /* owned */
        size_t n_scan;
        unsigned connections_per_user, sessions_per_user, targets_per_user;
        SessionLimits session_limits;
        RemoveStale remove_stale;
        bool require_reason; /* of who opens a session */
        int log_level; /* -1 until it is set */
        Policy policy; /* its names are not resolved: resolver.h */
} Config;

void config_init(Config *c);
void config_done(Config *c);

/* Pure: reads a file's text. 0, -ENOMEM, or -EBADMSG with *ret_error. */
int config_parse(Config *c, const char *name, const char *text, IniError *ret_error);

/* Reads @file, or the standard files if it is NULL; standard files that are absent are no error. */
int config_load(Config *c, const char *file, IniError *ret_error);

/* One more folder to scan. 0 or -ENOMEM. */
int config_add_scan(Config *c, const char *folder);
int config_set_record(Config *c, const char *where);
