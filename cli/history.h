/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Lines typed in earlier sessions, in $XDG_STATE_HOME/manholectl/history (mode 0600). Best effort:
 * without a home there is only this session's history.
 */

void history_open(void);
void history_note(const char *line);
void history_close(void);
