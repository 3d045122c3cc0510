# SPDX-License-Identifier: BSD-2-Clause
"""An application that runs what its first argument says, in a module where it finds ways to get stuck."""
import ctypes
import os
import sys
import threading

import manhole

c = ctypes.PyDLL(None)


def say_and_keep_gil(text):
    """Nobody else gets the GIL from here to the end of the C call that follows."""
    sys.setswitchinterval(1000)
    c.write(1, text, len(text))


def hold_gil():
    """Holds the GIL until a byte comes on standard input. What read() returned goes to stdout."""
    buffer = ctypes.create_string_buffer(1)
    say_and_keep_gil(b"HOLDS\n")
    r = c.read(0, buffer, 1)
    sys.setswitchinterval(0.005)
    os.write(1, b"READ %d\n" % r)


def start_sleepers(n, name="sleeper"):
    """Threads that wait until the process ends."""
    event = threading.Event()
    for i in range(n):
        threading.Thread(target=event.wait, name=name, daemon=True).start()


def dead_lock():
    one, two, both = threading.Lock(), threading.Lock(), threading.Barrier(2)

    def take(first, second):
        with first:
            both.wait()
            os.write(1, b"LOCKS\n")
            with second:
                pass

    threading.Thread(target=take, args=(two, one), daemon=True).start()
    take(one, two)


def churn():
    """Threads begin and end, and their stacks grow and shrink, until there is input to read."""

    def recurse(n):
        return [recurse(n - 1)] if n else []

    def work():
        for i in range(50):
            recurse(i)

    done = threading.Event()

    def wait():
        sys.stdin.read(1)
        done.set()

    threading.Thread(target=wait).start()
    n = 0
    while not done.is_set():
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        n += 1
    os.write(1, b"ROUNDS %d\n" % n)


handle = manhole.install(verbose=False)
os.write(1, b"READY\n")
exec(sys.argv[1])
sys.stdin.read()
os.write(1, b"BYE\n")
