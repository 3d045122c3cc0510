# SPDX-License-Identifier: BSD-2-Clause
"""A fully monkey-patched application that ticks: green_loop.py gevent|eventlet before|after, as manhole is
installed before it is patched or after."""
import sys

library, when = sys.argv[1:]


def install():
    import manhole

    manhole.install(verbose=False)


if when == "before":
    install()
if library == "gevent":
    from gevent import monkey, sleep

    monkey.patch_all()
else:
    import eventlet
    from eventlet import sleep

    eventlet.monkey_patch()
if when == "after":
    install()
print("READY", flush=True)
n = 0
while True:
    sleep(0.01)
    print("tick", n, flush=True)
    n += 1
