# SPDX-License-Identifier: BSD-2-Clause
"""`make bench`: what manholed costs, beside what a user would pick instead.

Every figure is a median unless it says otherwise, and every ratio is of one run: the two sides take
turns, so that a noisy machine is noisy for both. Nothing here passes or fails.
"""
import os
import shutil

import agent_rows
import broker_rows
import journal_rows
import relay_rows
import target_rows
from benchlib import PACKAGE


def main():
    print(f"{'':44} {'manholed':>10} {'the other':>10}       {'ratio':>7}")
    if (PACKAGE / "manhole").is_dir():
        with agent_rows.idle():
            agent_rows.install()
            agent_rows.console()
            agent_rows.stalled()
    else:
        print("(the pure-Python package is not here: run tests/fetch-from-sid python3-manhole tests/python-manhole in the build folder)")
    if shutil.which("socat") and shutil.which("systemd-socket-activate"):
        relay_rows.relay()
        relay_rows.many("none")
    else:
        print("(socat or systemd-socket-activate is not here)")
    if os.geteuid() == 0 and os.path.exists(journal_rows.JOURNALD):
        journal_rows.rows()
    else:
        print("(a journald of its own needs root and /lib/systemd/systemd-journald)")
    broker_rows.list_targets()
    broker_rows.stacks()
    target_rows.many_targets()
    target_rows.many_stale()


main()
