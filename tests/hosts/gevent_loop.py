# SPDX-License-Identifier: BSD-2-Clause
"""A gevent application, fully monkey-patched, that ticks."""
from gevent import monkey

monkey.patch_all()
import gevent  # noqa: E402

import manhole  # noqa: E402

manhole.install(verbose=False)
print("READY", flush=True)
n = 0
while True:
    gevent.sleep(0.01)
    print("tick", n, flush=True)
    n += 1
