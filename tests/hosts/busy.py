# SPDX-License-Identifier: BSD-2-Clause
"""Threads that print, log and fork as fast as they may, until standard input ends. What they print goes
to a file that nobody reads; what comes of it, to standard output."""
import logging
import os
import random
import sys
import threading
import time

import manhole

out = os.dup(1)
sys.stdout = open(os.devnull, "w")
logging.basicConfig(stream=sys.stdout, level=logging.INFO)
handle = manhole.install(verbose=False, reinstall_delay=0)
counts = {}
stop = threading.Event()


def prints(name):
    while not stop.is_set():
        print(name, counts[name], "." * 100)
        counts[name] += 1


def logs(name):
    while not stop.is_set():
        logging.info("%s %d", name, counts[name])
        counts[name] += 1


def forks(name):
    while not stop.is_set():
        pid = os.fork()
        if pid == 0:
            # Other threads may have held any lock of Python's: no print, no import.
            kind = random.randrange(3)
            if kind == 0:
                os.execv("/bin/true", ["true"])
            if kind == 1:
                time.sleep(0.02)
                handle.release()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        counts[name] += 1


def begin(target, name):
    counts[name] = 0
    thread = threading.Thread(target=target, args=(name,), name=name)
    thread.start()
    return thread


threads = [begin(prints, "printer-%d" % n) for n in range(3)] + [begin(logs, "logger")]
if "fork" in sys.argv:
    threads.append(begin(forks, "forker"))
os.write(out, b"READY\n")
for line in sys.stdin:
    os.write(out, b"COUNTS %s\n" % repr(counts).encode())
stop.set()
for thread in threads:
    thread.join()
os.write(out, b"BYE\n")
