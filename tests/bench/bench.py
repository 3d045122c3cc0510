# SPDX-License-Identifier: BSD-2-Clause
"""`make bench`: what manholed costs, beside what a user would pick instead.

Every figure is a median unless it says otherwise, and every ratio is of one run: the two sides take
turns, so that a noisy machine is noisy for both. Nothing here passes or fails.
"""
import shutil

import agent_rows
import broker_rows
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
    if shutil.which("socat"):
        broker_rows.relay()
    else:
        print("(socat is not here)")
    broker_rows.list_targets()


main()
