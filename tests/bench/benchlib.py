# SPDX-License-Identifier: BSD-2-Clause
"""What both halves of `make bench` need: applications, consoles, and how a figure is printed."""
import contextlib
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time

BUILD = pathlib.Path(os.environ.get("MANHOLED_BUILDDIR", "build")).resolve()
AGENT = BUILD / "agent/python"
PACKAGE = BUILD / "tests/python-manhole/usr/lib/python3/dist-packages"
PYTHON = os.environ.get("MANHOLED_PYTHON", sys.executable)

APPLICATION = "import manhole; manhole.install(verbose=False); print('ready', flush=True); input()"


def environment(path):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MANHOLE"))}
    return env | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}


@contextlib.contextmanager
def application(path):
    """A process that waits; its PID and its socket."""
    process = subprocess.Popen([PYTHON, "-c", APPLICATION], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=environment(path))
    assert process.stdout.readline() == b"ready\n"
    address = f"/tmp/manhole-{process.pid}"
    wait_for(lambda: os.path.exists(address))
    try:
        yield process.pid, address
    finally:
        process.communicate(b"\n", timeout=30)


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Plain:
    """A console as socat has it; costs as little as Python can."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX)
        # Between bind() and listen() nobody answers yet.
        wait_for(lambda: self.socket.connect_ex(address) == 0)
        self.begin()

    def begin(self):
        self.room, self.tail = bytearray(1 << 18), b""

    def until(self, end):
        while not self.tail.endswith(end):
            n = self.socket.recv_into(self.room)
            assert n, self.tail
            self.tail = (self.tail + self.room[max(n - 64, 0) : n])[-64:]
        self.tail = b""

    def run(self, code):
        self.socket.sendall(code + b"\n")
        self.until(b">>> ")

    def close(self):
        self.socket.close()


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def turns(n, *functions):
    """Each function n times, in turn: the list of its times."""
    times = [[] for _ in functions]
    for _ in range(n):
        for function, of_it in zip(functions, times):
            of_it.append(timed(function))
    return times


def row(what, ours, theirs, unit, scale=1, better="lower", against="the pure-Python package",
        figure=statistics.median):
    a, b = figure(ours) * scale, figure(theirs) * scale
    print(f"{what:44} {a:10.3f} {b:10.3f} {unit:5} {a / b:7.3f}  ({better} is better; against {against})",
          flush=True)


def p99(values):
    return statistics.quantiles(values, n=100)[-1]


__all__ = [name for name in dir() if not name.startswith("_")]
