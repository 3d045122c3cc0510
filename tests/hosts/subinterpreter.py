# SPDX-License-Identifier: BSD-2-Clause
"""An application whose main thread runs a subinterpreter until there is input to read."""
import os
import sys

import manhole

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

CODE = "import os, sys\nos.write(1, b'INSIDE\\n')\nos.read(0, 1)\n"

manhole.install(verbose=False)
# With a GIL that it shares, where there is a choice.
if sys.version_info >= (3, 13):
    inner = interpreters.create("legacy")
elif sys.version_info >= (3, 12):
    inner = interpreters.create(isolated=False)
else:
    inner = interpreters.create()
os.write(1, b"READY\n")
interpreters.run_string(inner, CODE)
interpreters.destroy(inner)
os.write(1, b"BYE\n")
