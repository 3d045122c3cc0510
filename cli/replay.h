/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* A recorded session shown again, as it was seen and typed. What is shown is made safe for a terminal. */

#include "cli/logged.h"

/* At @speed times the time that it took; pauses are cut short. Returns an ExitStatus. */
int replay_play(const Logged *l, double speed);

/* As an asciicast v2 for other players, at @path or, if that is "-", on standard output. */
int replay_write_cast(const Logged *l, const char *path);
