/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Names of the errors a client may get: daemon/org.manholed.varlink and the Varlink service
 * interface (https://varlink.org/Service). */

#define ERROR_NO_SUCH_TARGET "org.manholed.NoSuchTarget"
#define ERROR_NO_SUCH_SESSION "org.manholed.NoSuchSession"
#define ERROR_AMBIGUOUS_TARGET "org.manholed.AmbiguousTarget"
#define ERROR_NOT_AUTHORIZED "org.manholed.NotAuthorized"
#define ERROR_TARGET_UNTRUSTED "org.manholed.TargetUntrusted"
#define ERROR_TARGET_GONE "org.manholed.TargetGone"
#define ERROR_TOO_MANY_SESSIONS "org.manholed.TooManySessions"
#define ERROR_RECORDER_UNAVAILABLE "org.manholed.RecorderUnavailable"
#define ERROR_UNSUPPORTED "org.manholed.Unsupported"
#define ERROR_TIMED_OUT "org.manholed.TimedOut"
#define ERROR_SESSION_ENDED "org.manholed.SessionEnded"
#define ERROR_BAD_MESSAGE "org.manholed.BadMessage"

#define ERROR_INTERFACE_NOT_FOUND "org.varlink.service.InterfaceNotFound"
#define ERROR_METHOD_NOT_FOUND "org.varlink.service.MethodNotFound"
#define ERROR_INVALID_PARAMETER "org.varlink.service.InvalidParameter"
#define ERROR_EXPECTED_MORE "org.varlink.service.ExpectedMore"
#define ERROR_EXPECTED_UPGRADE "org.varlink.service.ExpectedUpgrade"
