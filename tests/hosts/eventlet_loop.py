# SPDX-License-Identifier: BSD-2-Clause
"""An eventlet application, fully monkey-patched, that ticks."""
import eventlet

eventlet.monkey_patch()

import manhole  # noqa: E402

manhole.install(verbose=False)
print("READY", flush=True)
n = 0
while True:
    eventlet.sleep(0.01)
    print("tick", n, flush=True)
    n += 1
