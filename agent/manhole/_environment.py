# SPDX-License-Identifier: BSD-2-Clause
"""Acts on PYTHONMANHOLE. Called by manhole.pth and by sitecustomize.py, once between them."""
import os
import sys

_activated = False


def activate():
    global _activated
    options = os.environ.get("PYTHONMANHOLE")
    # PYTHON* variables do not count under -E and -I.
    if options is None or _activated or sys.flags.ignore_environment:
        return
    _activated = True
    try:
        import manhole

        eval("manhole.install(%s)" % options, {"manhole": manhole})
    except Exception:
        import traceback

        try:
            sys.stderr.write("Failed to manhole.install(%s):\n%s" % (options, traceback.format_exc()))
        except Exception:
            pass
