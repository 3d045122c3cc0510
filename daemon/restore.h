/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Goes on with the sessions that another manholed has left in the store, whether it was stopped in order
 * or not. */

typedef struct Manager Manager;

/* At the start, when all that sessions use is there. Those that cannot go on are ended, and recorded so. */
void restore_sessions(Manager *m);

/* Sessions find their targets again, which are found later than they are. */
void restore_targets(Manager *m);
