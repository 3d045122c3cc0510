# SPDX-License-Identifier: BSD-2-Clause
"""An application that does what its standard input says, a line of Python at a time."""
import os
import sys

import manhole


def write_raw(text):
    os.write(1, (text + "\n").encode())


handle = eval("manhole.install(%s)" % (sys.argv[1] if len(sys.argv) > 1 else ""))
write_raw("READY")
for line in sys.stdin:
    exec(line)
write_raw("BYE")
