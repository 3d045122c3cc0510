/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Where the two programs meet. */

#define PRIV_CHILD_FD 3 /* of a manholed-priv that manholed itself starts */
#define PRIV_SOCKET_PATH "/run/manholed/priv"
#define PRIV_PEER_UNIT "manholed.service" /* the only unit that is served on that socket */
