# SPDX-License-Identifier: BSD-2-Clause
"""Prints numbered lines as fast as it may."""
import os

import manhole

manhole.install(verbose=False)
os.write(1, b"READY\n")
n = 0
while True:
    print("line", n, "." * 200, flush=True)
    n += 1
