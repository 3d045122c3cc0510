# SPDX-License-Identifier: BSD-2-Clause
"""Many sessions at once, and many one after the other."""
import statistics
import time

import pytest

from agentlib import *

# How many come and go; more of them with `make check-long`.
SESSIONS = int(os.environ.get("MANHOLED_SESSIONS", 1000))
SANITIZED = "MANHOLED_SANITIZER" in os.environ


@pytest.mark.parametrize("n", [64, 128])
def test_sessions_at_once_have_everything_of_their_own(host, n):
    clients = [connect(host) for _ in range(n)]
    for i, client in enumerate(clients):
        client.send(f"mine = {i}\n{i} + 1000\nx = input('give')\n")
    # All of them wait for input at the same time.
    for client in clients:
        client.until(b"give")
    for i, client in reversed(list(enumerate(clients))):
        client.send(f"line {i}\n")
    for i, client in enumerate(clients):
        client.send("print('v', mine, _, x)\n")
    for i, client in enumerate(clients):
        client.until(b"v ")
        assert client.until(b"\n") == f"{i} {i + 1000} line {i}\n".encode()
        client.close()
    wait_for(lambda: len(host.thread_names()) == 2, "the threads end")
    host.do("import builtins; write_raw(str(hasattr(builtins, '_')))")
    host.wait_out("^False$")


def test_runaway_session_hinders_no_other(host):
    with connect(host) as runaway, connect(host) as client:
        runaway.send("print('RUNS')\nwhile True: pass\n\n")
        runaway.until(b"RUNS\n")
        runaway.until(b"... ")
        times = []
        for i in range(40):
            begun = time.monotonic()
            assert client.run(f"{i} + 1") == f"{i + 1}\n"
            times.append(time.monotonic() - begun)
        # A line takes the GIL a few times, and waits for it 5 ms each time.
        assert statistics.median(times) < 0.1
        runaway.send(b"\x03")
        runaway.until(b"KeyboardInterrupt\n")
        runaway.until(b">>> ")


def test_client_that_stops_reading_gives_the_applications_lock_back(host):
    """Takes as long as such a client may take no output, which is five seconds."""
    host.do(
        "import logging, threading, time\n"
        "logging.basicConfig(stream=open(os.devnull, 'w'))\n"
        "gaps = []\n"
        "def work():\n"
        "    while True:\n"
        "        begun = time.monotonic()\n"
        "        logging.warning('on it goes')\n"
        "        gaps.append(time.monotonic() - begun)\n"
        "        time.sleep(0.001)\n"
        "worker = threading.Thread(target=work, daemon=True); worker.start()"
    )
    with connect(host) as client:
        client.run("import logging; lock = logging.getLogger().handlers[0].lock")
        client.send("with lock:\n    while True: print('x' * 10000)\n\n")
        client.until(b"xxx")
        host.wait_err("Cleaned up", timeout=12)
    host.do("n = len(gaps)\nwhile len(gaps) < n + 10: time.sleep(0.01)")
    host.do("write_raw('GAP %.1f %s' % (max(gaps), worker.is_alive()))")
    gap, alive = host.wait_out("^GAP ").split()[1:]
    assert 4 < float(gap) < 7.5 and alive == "True"
    assert not [line for line in host.err if "Traceback" in line]


MEASURE = (
    "import gc, sys, threading; gc.collect(); "
    "write_raw('NOW %d %d %d %d %d' % (sys.getallocatedblocks(), len(sys._current_frames()), "
    "len(threading._active), sum(m() is not None for m in sys.marks), "
    "int(open('/proc/self/statm').read().split()[1]) * 4096))"
)


def measure(host):
    wait_for(lambda: len(host.thread_names()) == 2, "the threads end")
    start = len(host.out)
    host.do(MEASURE)
    line = host.wait_out("^NOW ", start=start)
    host.do("sys.marks.clear()")
    return [int(word) for word in line.split()[1:]] + [host.descriptors()]


def one_session(host, i):
    if i % 4 == 3:
        with Framed(host.path) as client:
            client.hello()
            end, _, _ = client.exec("import sys, weakref\nclass Mark: pass\nm = Mark()\n"
                                    "sys.marks.append(weakref.ref(m))\n1 / 0")
            assert end["exception"]["type"] == "ZeroDivisionError"
        return
    with connect(host) as client:
        client.send("class Mark: pass\n\nimport weakref; m = Mark(); sys.marks.append(weakref.ref(m))\n")
        client.send("m\nm.missing\ndef f(): return m\n\nexit()\n")
        assert b"AttributeError" in client.wait_closed()


def test_sessions_leave_nothing_behind():
    with plain_host("verbose=False") as host:
        host.do("import sys; sys.marks = []")
        for i in range(600):  # free lists and caches fill slowly
            one_session(host, i)
        before = measure(host)
        for i in range(SESSIONS):
            one_session(host, i)
            if i % 500 == 499:
                assert measure(host)[3] == 0, "every namespace is gone"
        after = measure(host)
        blocks, frames, active, marks, resident, descriptors = (b - a for a, b in zip(before, after))
        assert (after[1], after[2], marks, descriptors) == (1, 1, 0, 0)
        # A block a session would be SESSIONS of them, and 1 KiB a session SESSIONS KiB.
        assert blocks < SESSIONS / 4
        assert SANITIZED or resident < SESSIONS * 1024 * 0.7
        host.do("import builtins; write_raw('LEFT %s' % ([n for n in dir(sys) if n.startswith('last_')] + "
                "[n for n in dir(builtins) if n == '_']))")
        host.wait_out(r"^LEFT \[\]$")
